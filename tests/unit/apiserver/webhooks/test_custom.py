"""Webhooks and objects of CustomResourceDefinitions."""

import random

import pytest
from tests.unit.apiserver.kit import Api
from tests.unit.apiserver.webhooks.kit import FakeCaller, hook, patch

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.bootstrap import ensure_builtin_objects
from knarr.apiserver.customkinds import serve_definition
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.kits.clock import ManualClock
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

SPEC = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "size": {"type": "string", "default": "small"}},
    "x-kubernetes-validations": [{"rule": "self.n < 10", "message": "n must be below 10"}],
}
SCHEMA = {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}}
VERSIONS = [
    {"name": "v1", "served": True, "storage": True, "schema": SCHEMA},
    {"name": "v1beta1", "served": True, "storage": False, "schema": SCHEMA},
]
DEFINITION = {
    "spec": {
        "group": "ex.dev", "scope": "Namespaced", "versions": VERSIONS,
        "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
    }
}  # fmt: skip
OLD, NEW = (f"/apis/ex.dev/{version}/namespaces/default/foos" for version in ("v1beta1", "v1"))
RULE = {"operations": ["*"], "apiGroups": ["ex.dev"], "apiVersions": ["v1"], "resources": ["foos"]}
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@pytest.fixture
def caller():
    return FakeCaller()


@pytest.fixture
async def api(caller):
    clock = ManualClock()
    async with Store(None) as store:
        handler = Handler(store, KINDS, clock, random.Random(1), webhooks=caller)
        await ensure_builtin_objects(InProcessTransport(handler, ADMIN))
        handler.registry.put_custom("foos.ex.dev", serve_definition(DEFINITION, 0))
        yield Api(handler, store, clock)


async def register(api, **more):
    body = {"metadata": {"name": "c"}, "webhooks": [hook("m", rules=[RULE], **more)]}
    assert (await api.post(CONFIGURATIONS, body)).status == 201


async def test_other_versions_match_unless_rules_are_exact(api, caller):
    caller.replies["m"] = lambda _: patch({"op": "add", "path": "/spec/n", "value": 3})
    await register(api)
    answer = await api.post(OLD, {"metadata": {"name": "a"}, "spec": {"n": 1}})
    assert (answer.status, answer.json["spec"]["n"]) == (201, 3)
    assert answer.json["apiVersion"] == "ex.dev/v1beta1"
    ((_, request),) = caller.calls
    assert request["kind"]["version"] == request["resource"]["version"] == "v1"
    assert request["requestKind"]["version"] == request["requestResource"]["version"] == "v1beta1"
    assert request["object"]["apiVersion"] == "ex.dev/v1"
    await api.delete(f"{CONFIGURATIONS}/c")
    await register(api, matchPolicy="Exact")
    caller.calls.clear()
    await api.post(OLD, {"metadata": {"name": "b"}, "spec": {"n": 1}})
    assert caller.asked == []
    await api.post(NEW, {"metadata": {"name": "d"}, "spec": {"n": 1}})
    assert caller.asked == ["m"]


async def test_what_webhooks_leave_is_pruned_defaulted_and_judged(api, caller):
    caller.replies["m"] = lambda _: patch(
        {"op": "add", "path": "/spec", "value": {"n": 1, "unknown": True}}
    )
    await register(api)
    answer = await api.post(NEW, {"metadata": {"name": "a"}, "spec": {"n": 5}})
    assert answer.json["spec"] == {"n": 1, "size": "small"}
    caller.replies["m"] = lambda _: patch({"op": "add", "path": "/spec/n", "value": 10})
    answer = await api.post(NEW, {"metadata": {"name": "b"}, "spec": {"n": 1}})
    assert answer.status == 422
    assert answer.json["message"] == (
        'Foo.ex.dev "b" is invalid: spec: Invalid value: "object": n must be below 10'
    )


async def test_rules_are_enforced_without_webhooks(api):
    assert (await api.post(NEW, {"metadata": {"name": "a"}, "spec": {"n": 9}})).status == 201
    answer = await api.patch(f"{NEW}/a", {"spec": {"n": 11}})
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert (await api.patch(f"{NEW}/a", {"spec": {"n": 8}})).status == 200
