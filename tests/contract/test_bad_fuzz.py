"""Selectors, paths, documents and protobuf at random.

Whatever is sent: a Status with a message, never a 500, never growth without bound.
"""

import json
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.contract.attacker import (
    APPLY,
    DEPLOYMENTS,
    KSVCS,
    MAPS,
    MERGE,
    PROTOBUF,
    STRATEGIC,
)
from tests.wire import envelope

pytestmark = pytest.mark.contract

_FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


_words = st.text(alphabet="ab./-_=!,() \t\n<>\"'\\%üz0", max_size=40)


@_FUZZ
@given(_words, _words)
@example("a in (b)", "metadata.name=a")
def test_selectors_at_random(attack, labels, fields):
    answer = attack.survived(
        "GET", f"{MAPS}?labelSelector={quote(labels)}&fieldSelector={quote(fields)}"
    )
    assert answer.status in (200, 400)


@_FUZZ
@given(st.text(max_size=30), st.text(max_size=30), st.binary(max_size=20))
def test_paths_and_tokens_at_random(attack, path, token, raw):
    attack.survived("GET", f"/{quote(path, safe='/')}")
    attack.survived("GET", f"{MAPS}/{quote_from_bytes(raw, safe='')}")
    attack.survived("GET", f"{MAPS}?limit=1&continue={quote(token, safe='')}")
    attack.survived("GET", f"{MAPS}?limit=1&continue={quote_from_bytes(raw)}")


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
_fields = st.sampled_from(
    ["metadata", "spec", "template", "containers", "name", "labels", "annotations", "finalizers", "ownerReferences",
     "replicas", "selector", "matchLabels", "$patch", "$retainKeys", "env", "ports", "kind", "apiVersion", "status", "traffic"]
)  # fmt: skip
_documents = st.recursive(
    _json,
    lambda inner: st.dictionaries(_fields, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@_FUZZ
@given(_documents)
def test_documents_at_random(attack, document):
    try:
        body = json.dumps(document).encode()
    except UnicodeEncodeError:
        return
    for target in (MAPS, DEPLOYMENTS, KSVCS):
        attack.survived("POST", f"{target}?dryRun=All", body, "application/json")
        attack.survived("POST", f"{target}?dryRun=All", body, "application/yaml")
        attack.survived("PATCH", f"{target}/victim?dryRun=All", body, MERGE)
        attack.survived("PATCH", f"{target}/victim?dryRun=All", body, STRATEGIC)
        attack.survived(
            "PATCH",
            f"{target}/victim?dryRun=All&fieldManager=f",
            body,
            APPLY,
        )
        attack.survived("DELETE", f"{target}/nobody", body, "application/json")


@_FUZZ
@given(
    st.binary(max_size=120),
    st.sampled_from(
        [
            "v1.ConfigMap",
            "apps/v1.Deployment",
            "v1.Pod",
            "v1.Secret",
            "coordination.k8s.io/v1.Lease",
        ]
    ),
)
def test_protobuf_at_random(attack, raw, name):
    version, _, kind = name.rpartition(".")
    target = {
        "ConfigMap": MAPS,
        "Deployment": DEPLOYMENTS,
        "Pod": "/api/v1/namespaces/default/pods",
        "Secret": "/api/v1/namespaces/default/secrets",
    }.get(kind, "/apis/coordination.k8s.io/v1/namespaces/default/leases")
    attack.survived("POST", f"{target}?dryRun=All", envelope(version, kind, raw), PROTOBUF)
    attack.survived("POST", f"{target}?dryRun=All", b"k8s\0" + raw, PROTOBUF)
