"""DomainMapping and ClusterDomainClaim: defaults, and what Knative says about them, word for word."""

from typing import Any

import pytest
from tests.unit.resources.builders import admission, decode, defaulted, problems
from tests.unit.resources.serving_builders import SUBDOMAIN

from knarr.resources.networking.clusterdomainclaim import CLUSTER_DOMAIN_CLAIM
from knarr.resources.serving.domainmapping import DOMAIN_MAPPING, domain_problem

REF = {"kind": "Service", "apiVersion": "serving.knative.dev/v1", "name": "hello"}


def mapping(name: str = "example.com", **ref: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ref": {**REF, **ref}},
    }


def test_the_namespace_of_the_reference_is_the_own_one() -> None:
    result = defaulted(DOMAIN_MAPPING, mapping())
    assert result["spec"]["ref"] == {**REF, "namespace": "default"}
    assert result["metadata"]["annotations"] == {
        "serving.knative.dev/creator": "jane",
        "serving.knative.dev/lastModifier": "jane",
    }


def test_who_changes_the_reference_is_the_last_modifier() -> None:
    stored = decode(DOMAIN_MAPPING, defaulted(DOMAIN_MAPPING, mapping()))
    changed = defaulted(DOMAIN_MAPPING, mapping(), admission(stored, user="joe"))
    assert "annotations" not in changed["metadata"]
    moved = mapping()
    moved["spec"]["ref"]["name"] = "other"
    result = defaulted(DOMAIN_MAPPING, moved, admission(stored, user="joe"))
    assert result["metadata"]["annotations"] == {"serving.knative.dev/lastModifier": "joe"}
    text = problems(DOMAIN_MAPPING, result, admission(stored, user="joe"))
    assert text == (
        "annotation value is immutable: metadata.annotations.serving.knative.dev/creator"
    )


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    (mapping(), ""),
    (mapping("a.b.example.com"), ""),
    (
        mapping("nodot"),
        'invalid name "nodot": name: Invalid value: "nodot": should be a domain with at least two '
        "segments separated by dots: metadata.name",
    ),
    (
        mapping("Up.com"),
        f'invalid name "Up.com": name: Invalid value: "Up.com": {SUBDOMAIN}: metadata.name',
    ),
    (
        mapping("x.default.svc.cluster.local"),
        'invalid name "x.default.svc.cluster.local": must not be a subdomain of cluster local domain '
        '"cluster.local": metadata.name',
    ),
    (mapping(name=""), 'invalid name "": name: Required value: metadata.name'),
    (
        {"metadata": {"name": "a.com"}},
        "missing field(s): spec.ref.apiVersion, spec.ref.kind, spec.ref.name",
    ),
    (mapping(group="serving.knative.dev"), "must not set the field(s): spec.ref.group"),
    (
        mapping(namespace="other"),
        "mismatched namespaces: spec.ref.namespace\n"
        'parent namespace: "default" does not match ref: "other"',
    ),
]


@pytest.mark.parametrize(("document", "text"), PROBLEMS)
def test_what_is_refused(document: dict[str, Any], text: str) -> None:
    assert problems(DOMAIN_MAPPING, document) == text


def test_names_are_not_generated() -> None:
    document = mapping()
    document["metadata"]["generateName"] = "x-"
    assert problems(DOMAIN_MAPPING, document) == (
        "must not set the field(s): metadata.generateName"
    )


def test_every_bad_label_of_a_domain_is_named() -> None:
    long, longer = "a" * 64, "b" * 64
    text = domain_problem(f"{long}.{longer}.com")
    assert text == (
        f'[name: Invalid value: "{long}": must be no more than 63 characters, '
        f'name: Invalid value: "{longer}": must be no more than 63 characters]'
    )
    assert domain_problem("example.com.") == ""


def test_a_status_is_not_judged() -> None:
    assert problems(DOMAIN_MAPPING, mapping("nodot"), admission(subresource="status")) == ""
    document = {"metadata": {"name": "a.com"}}
    assert defaulted(DOMAIN_MAPPING, document, admission(subresource="status")) == {
        "metadata": {"name": "a.com"}
    }


def test_a_claim_needs_a_namespace() -> None:
    claim: dict[str, Any] = {"metadata": {"name": "example.com"}}
    assert problems(CLUSTER_DOMAIN_CLAIM, claim) == "missing field(s): spec.namespace"
    claim["spec"] = {"namespace": "default"}
    assert problems(CLUSTER_DOMAIN_CLAIM, claim) == ""
    assert not CLUSTER_DOMAIN_CLAIM.namespaced
