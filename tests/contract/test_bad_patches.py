"""Patches that cannot be applied, and some that must not be.

Whatever is sent: a Status with a message, never a 500, never growth without bound.
"""

import json

import pytest
from tests.contract.attacker import (
    APPLY,
    DEPLOYMENTS,
    JSON_PATCH,
    KSVCS,
    MAPS,
    MERGE,
    STRATEGIC,
)

pytestmark = pytest.mark.contract


def pointer_bomb() -> list[dict[str, object]]:
    operations: list[dict[str, object]] = [{"op": "add", "path": "/data/a", "value": "x" * 1000}]
    for _ in range(60):
        operations.append({"op": "copy", "from": "/data", "path": "/data/n"})
        operations.append({"op": "copy", "from": "/data", "path": "/data/m"})
    return operations


PATCHES: tuple[object, ...] = (
    [{"op": "add", "path": "/metadata/finalizers/4294967296", "value": "x"}],
    [{"op": "add", "path": "/metadata/finalizers/99999999999999999999", "value": "x"}],
    [{"op": "add", "path": "/metadata/finalizers/-1", "value": "x"}],
    [{"op": "replace", "path": "/metadata/finalizers/-", "value": "x"}],
    [{"op": "add", "path": "/data/01/02/03", "value": 1}],
    [{"op": "test", "path": "/data/a", "value": "no"}],
    [{"op": "test", "path": "/nothing", "value": None}],
    [{"op": "remove", "path": ""}],
    [{"op": "remove", "path": "/"}],
    [{"op": "replace", "path": "", "value": 5}],
    [{"op": "replace", "path": "", "value": []}],
    [{"op": "add", "path": "", "value": None}],
    [{"op": "move", "from": "/data", "path": "/data/a"}],
    [{"op": "move", "from": "", "path": "/data"}],
    [{"op": "copy", "from": "", "path": "/data/self"}],
    [{"op": "add", "path": "data", "value": 1}],
    [{"op": "add", "path": None, "value": 1}],
    [{"op": "add", "path": 5, "value": 1}],
    [{"op": "add"}],
    [{"op": "add", "path": "/data/x"}],
    [{"op": "exec", "path": "/data"}],
    [{"op": ["add"], "path": "/data"}],
    [{}],
    [[]],
    [1],
    {},
    1,
    None,
    "x",
    [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 20_000,
    [{"op": "add", "path": "/data/" + "~" * 5_000, "value": "x"}],
    [{"op": "add", "path": "/" * 20_000, "value": "x"}],
    [{"op": "replace", "path": "/kind", "value": "Secret"}],
    [{"op": "replace", "path": "/kind", "value": {}}],
    [{"op": "replace", "path": "/metadata", "value": "x"}],
    [{"op": "replace", "path": "/metadata/name", "value": "other"}],
    [{"op": "replace", "path": "/metadata/uid", "value": "other"}],
    [{"op": "replace", "path": "/apiVersion", "value": "v2"}],
    pointer_bomb(),
)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: json.dumps(patch)[:60])
def test_bad_json_patches(attack, patch):
    attack.refused(
        "PATCH",
        f"{MAPS}/victim",
        json.dumps(patch).encode(),
        JSON_PATCH,
        codes=(400, 409, 413, 422),
    )
    for target in (
        f"{DEPLOYMENTS}/victim/scale",
        f"{DEPLOYMENTS}/victim/status",
        f"{KSVCS}/victim",
    ):
        attack.survived("PATCH", f"{target}?dryRun=All", json.dumps(patch).encode(), JSON_PATCH)


STRATEGIC_PATCHES: tuple[object, ...] = (
    {"spec": {"template": {"spec": {"containers": [5]}}}},
    {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, 5]}}}},
    {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, [], "x", None]}}}},
    {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}},
    {"spec": {"template": {"spec": {"containers": [None]}}}},
    {"spec": {"template": {"spec": {"containers": {"name": "c"}}}}},
    {"spec": {"template": {"spec": {"containers": [{"name": {"x": 1}, "image": "y"}]}}}},
    {"spec": {"template": {"spec": {"containers": [{"name": ["c"], "$patch": "delete"}]}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/containers": 5}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/containers": [5, None]}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"x": "c"}]}}}},
    {"spec": {"template": {"spec": {"$retainKeys": "x"}}}},
    {"spec": {"template": {"spec": {"$retainKeys": [{}]}}}},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}},
    {"metadata": {"finalizers": [{}, 1, None]}},
    {"metadata": {"$setElementOrder/finalizers": [{}], "finalizers": ["x.dev/y"]}},
    {"$patch": "explode"},
    {"$patch": {}},
    {"$patch": ["replace"]},
    {"$patch": "delete"},
    {"$patch": "replace"},
    {"spec": {"$patch": "delete"}},
    {"spec": {"$patch": "replace", "x": 1}},
    {"spec": None},
    {"metadata": None},
    {"metadata": 1},
    {"metadata": {"labels": {"a": 1}}},
    {"metadata": {"labels": []}},
    {"metadata": {"ownerReferences": [{"uid": "x"}]}},
    {"metadata": {"ownerReferences": [1]}},
    [],
    [{"op": "add"}],
    1,
    None,
)


@pytest.mark.parametrize("patch", STRATEGIC_PATCHES, ids=lambda patch: json.dumps(patch)[:60])
@pytest.mark.parametrize("kind", [STRATEGIC, MERGE])
def test_bad_merge_patches(attack, patch, kind):
    body = json.dumps(patch).encode()
    attack.survived("PATCH", f"{DEPLOYMENTS}/victim?dryRun=All", body, kind)
    attack.survived("PATCH", f"{DEPLOYMENTS}/victim/scale?dryRun=All", body, kind)
    attack.survived("PATCH", f"{DEPLOYMENTS}/victim/status?dryRun=All", body, kind)
    if kind == MERGE:
        attack.survived("PATCH", f"{KSVCS}/victim?dryRun=All", body, kind)
        attack.survived("PATCH", f"{KSVCS}/victim/status?dryRun=All", body, kind)


APPLIES: tuple[object, ...] = (
    *STRATEGIC_PATCHES,
    {"metadata": {"name": "victim", "managedFields": [{}]}},
    {"metadata": {"name": "victim", "managedFields": [{"manager": "x", "fieldsV1": {"f:a": 5}}]}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "other"}},
    {"apiVersion": "apps/v9", "kind": "Deployment", "metadata": {"name": "victim"}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "victim"},
        "spec": {"replicas": "x"},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"ports": [{}, {}]}]}}},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": 5}]}}},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": []}]}}},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{}]}}},
    },
)


@pytest.mark.parametrize("patch", APPLIES, ids=lambda patch: json.dumps(patch)[:60])
def test_bad_applies(attack, patch):
    body = json.dumps(patch).encode()
    for target in (
        f"{DEPLOYMENTS}/victim",
        f"{DEPLOYMENTS}/fresh",
        f"{DEPLOYMENTS}/victim/scale",
        f"{KSVCS}/victim",
    ):
        for query in (
            "fieldManager=x&dryRun=All",
            "fieldManager=x&force=true&dryRun=All",
            "dryRun=All",
        ):
            attack.survived("PATCH", f"{target}?{query}", body, APPLY)
