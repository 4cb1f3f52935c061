"""Webhooks in the path of writes and deletions, with a caller that sends nothing."""

import asyncio
import random
from typing import Any

import pytest
from tests.unit.apiserver.kit import CONFIG_MAPS, Api
from tests.unit.apiserver.webhooks.kit import RULE, FakeCaller, hook, patch

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.bootstrap import ensure_builtin_objects
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.kits.clock import ManualClock
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
LABEL = {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}


@pytest.fixture
def caller():
    return FakeCaller()


@pytest.fixture
async def api(caller):
    clock = ManualClock()
    async with Store(None) as store:
        handler = Handler(store, KINDS, clock, random.Random(1), webhooks=caller)
        await ensure_builtin_objects(InProcessTransport(handler, ADMIN))
        yield Api(handler, store, clock)


async def register(api: Api, sort: str, *hooks: dict[str, Any], name: str = "c") -> None:
    body = {"metadata": {"name": name}, "webhooks": list(hooks)}
    answer = await api.post(f"{REGISTRATION}/{sort}webhookconfigurations", body)
    assert answer.status == 201, answer.json


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


async def test_without_configurations_nobody_is_asked(api, caller):
    assert (await api.post(CONFIG_MAPS, config_map())).status == 201
    assert caller.asked == []


async def test_a_mutating_webhook_changes_what_is_stored(api, caller):
    caller.replies["m"] = lambda _: patch(LABEL, {"op": "add", "path": "/data/b", "value": "2"})
    await register(api, "mutating", hook("m"))
    answer = await api.post(CONFIG_MAPS, config_map(a="1"))
    assert answer.status == 201
    stored = (await api.get(f"{CONFIG_MAPS}/a")).json
    assert stored["data"] == {"a": "1", "b": "2"}
    assert stored["metadata"]["labels"] == {"seen": "yes"}
    assert stored == answer.json


async def test_the_review_is_complete(api, caller):
    caller.replies["m"] = lambda _: {}
    await register(api, "validating", hook("m"))
    query = {"fieldManager": "me", "fieldValidation": "Strict"}
    await api.post(CONFIG_MAPS, config_map(a="1"), query=query)
    await api.put(f"{CONFIG_MAPS}/a", config_map(a="2"), query={"dryRun": "All"})
    await api.delete(f"{CONFIG_MAPS}/a", {"propagationPolicy": "Background"})
    created, updated, deleted = (request for _, request in caller.calls)
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    head = {
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": "a", "namespace": "default",
        "userInfo": {"username": "system:admin", "groups": ["system:masters", "system:authenticated"]},
    }  # fmt: skip
    for request, operation, dry in (
        (created, "CREATE", False), (updated, "UPDATE", True), (deleted, "DELETE", False)
    ):  # fmt: skip
        assert {name: request[name] for name in head} == head
        assert (request["operation"], request["dryRun"]) == (operation, dry)
        assert "subResource" not in request
    assert created["options"] == {
        "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "fieldValidation": "Strict",
    }  # fmt: skip
    assert updated["options"]["kind"] == "UpdateOptions"
    assert updated["options"]["dryRun"] == ["All"]
    assert deleted["options"] == {
        "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background",
    }  # fmt: skip
    assert created["object"]["data"] == {"a": "1"}
    assert created["object"]["kind"] == "ConfigMap"
    assert (created["oldObject"], deleted["object"]) == (None, None)
    assert (updated["oldObject"]["data"], updated["object"]["data"]) == ({"a": "1"}, {"a": "2"})
    assert deleted["oldObject"]["data"] == {"a": "1"}
    assert len({request["uid"] for _, request in caller.calls}) == 3


@pytest.mark.parametrize("sort", ["mutating", "validating"])
@pytest.mark.parametrize(
    ("status", "code", "reason", "text"),
    [
        (None, 400, "", "without explanation"),
        ({"message": "no cheese"}, 400, "", ": no cheese"),
        ({"reason": "TooEarly"}, 400, "TooEarly", ": TooEarly"),
        ({"message": "no", "code": 418, "reason": "Teapot"}, 418, "Teapot", ": no"),
        ({"message": "no", "code": 200}, 400, "", ": no"),
    ],
)
async def test_a_refusal_is_told_in_kubernetes_words(api, caller, sort, status, code, reason, text):
    caller.replies["m"] = lambda _: {"allowed": False, "status": status}
    await register(api, sort, hook("m"))
    answer = await api.post(CONFIG_MAPS, config_map())
    assert answer.status == code
    denied = 'admission webhook "m.example.com" denied the request'
    assert answer.json["message"] == f"{denied}{text}" if text[0] == ":" else f"{denied} {text}"
    assert answer.json["reason"] == reason
    assert (await api.get(f"{CONFIG_MAPS}/a")).status == 404


async def test_updates_and_deletions_can_be_refused(api, caller):
    caller.replies["m"] = lambda request: {"allowed": request["operation"] == "CREATE"}
    await register(api, "validating", hook("m"))
    await api.post(CONFIG_MAPS, config_map(a="1"))
    assert (await api.put(f"{CONFIG_MAPS}/a", config_map(a="2"))).status == 400
    assert (await api.patch(f"{CONFIG_MAPS}/a", {"data": {"a": "2"}})).status == 400
    assert (await api.delete(f"{CONFIG_MAPS}/a")).status == 400
    assert (await api.delete(CONFIG_MAPS)).status == 400
    assert (await api.get(f"{CONFIG_MAPS}/a")).json["data"] == {"a": "1"}


async def test_failures_refuse_or_are_ignored(api, caller):
    await register(api, "validating", hook("gone"))
    answer = await api.post(CONFIG_MAPS, config_map())
    assert (answer.status, answer.json["reason"]) == (500, "InternalError")
    assert answer.json["message"] == (
        'Internal error occurred: failed calling webhook "gone.example.com": failed to call webhook: Post '
        '"https://hooks.example.com/gone?timeout=10s": dial tcp: connection refused'
    )
    await api.delete(f"{REGISTRATION}/validatingwebhookconfigurations/c")
    await register(api, "validating", hook("gone", failurePolicy="Ignore"))
    await register(api, "mutating", hook("gone", failurePolicy="Ignore"))
    assert (await api.post(CONFIG_MAPS, config_map())).status == 201
    assert caller.asked == ["gone", "gone", "gone"]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ({"uid": "other"}, 'expected response.uid="'),
        ({"patch": "e30="}, "webhook returned response.patch but not response.patchType"),
        ({"patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
        ({"patch": "%", "patchType": "JSONPatch"}, "received undecodable patch"),
        ({"patch": "e30=", "patchType": "Merge"}, 'unsupported patch type "Merge"'),
        ({"allowed": "yes"}, "the response is no AdmissionReview"),
    ],
)
async def test_answers_that_are_none(api, caller, reply, text):
    caller.replies["m"] = lambda _: reply
    await register(api, "mutating", hook("m"))
    answer = await api.post(CONFIG_MAPS, config_map())
    assert answer.status == 500
    assert answer.json["message"].startswith(
        'Internal error occurred: failed calling webhook "m.example.com": received invalid webhook response: '
    )
    assert text in answer.json["message"]


async def test_validating_webhooks_may_not_patch(api, caller):
    caller.replies["m"] = lambda _: patch(LABEL)
    await register(api, "validating", hook("m"))
    answer = await api.post(CONFIG_MAPS, config_map())
    assert "validating webhook may not return response.patch" in answer.json["message"]


async def test_mutating_webhooks_are_asked_in_order(api, caller):
    for name in ("a", "b", "c"):
        caller.replies[name] = lambda request, name=name: patch(
            {"op": "add", "path": f"/data/{name}", "value": str(len(request["object"]["data"]))}
        )
    await register(api, "mutating", hook("c"), name="y")
    await register(api, "mutating", hook("b"), hook("a"), name="x")
    answer = await api.post(CONFIG_MAPS, config_map(start="0"))
    assert caller.asked == ["b", "a", "c"]
    assert answer.json["data"] == {"start": "0", "b": "1", "a": "2", "c": "3"}


async def test_webhooks_that_want_it_are_asked_again_after_later_changes(api, caller):
    caller.replies["a"] = caller.replies["b"] = lambda _: {}
    caller.replies["c"] = lambda _: patch({"op": "add", "path": "/data/c", "value": "1"})
    await register(
        api, "mutating", hook("a", reinvocationPolicy="IfNeeded"), hook("b"),
        hook("c", reinvocationPolicy="IfNeeded"),
    )  # fmt: skip
    await api.post(CONFIG_MAPS, config_map(start="0"))
    assert caller.asked == ["a", "b", "c", "a"]
    caller.calls.clear()
    caller.replies["c"] = lambda _: patch({"op": "test", "path": "/data/start", "value": "0"})
    await api.post(CONFIG_MAPS, config_map("other", start="0"))
    assert caller.asked == ["a", "b", "c"]


async def test_validating_webhooks_are_asked_at_once(api, caller):
    caller.replies["a"] = caller.replies["b"] = lambda _: {}
    arrived: list[str] = []
    both = asyncio.Event()
    call = caller.call

    async def meet(target, body, timeout_s):
        arrived.append(target.url)
        if len(arrived) == 2:
            both.set()
        await both.wait()
        return await call(target, body, timeout_s)

    caller.call = meet
    await register(api, "validating", hook("a"), hook("b"))
    assert (await api.post(CONFIG_MAPS, config_map())).status == 201


async def test_the_first_refusal_in_order_is_told(api, caller):
    for name in ("a", "b"):
        caller.replies[name] = lambda _, name=name: {"allowed": False, "status": {"message": name}}
    await register(api, "validating", hook("b"), name="y")
    await register(api, "validating", hook("a"), name="x")
    answer = await api.post(CONFIG_MAPS, config_map())
    assert answer.json["message"] == 'admission webhook "a.example.com" denied the request: a'


async def test_warnings_reach_the_client(api, caller):
    caller.replies["m"] = lambda _: {"warnings": ["mind the step"]}
    caller.replies["v"] = lambda _: {"warnings": ["x" * 5000]}
    await register(api, "mutating", hook("m"))
    await register(api, "validating", hook("v"))
    answer = await api.post(CONFIG_MAPS, config_map())
    assert answer.warnings == ["mind the step", "x" * 256]
    assert (await api.delete(f"{CONFIG_MAPS}/a")).warnings == ["mind the step", "x" * 256]


async def test_webhooks_with_side_effects_refuse_dry_runs(api, caller):
    caller.replies["m"] = lambda _: {}
    await register(api, "mutating", hook("m"))
    entry = api.store.newest(
        "mutatingwebhookconfigurations.admissionregistration.k8s.io", ("", "c")
    )
    raw = entry.data.replace(b'"sideEffects":"None"', b'"sideEffects":"Some"')
    await api.store.update(
        "mutatingwebhookconfigurations.admissionregistration.k8s.io", ("", "c"), entry.rv, lambda _: raw, durable=False
    )  # fmt: skip
    answer = await api.post(CONFIG_MAPS, config_map(), query={"dryRun": "All"})
    assert answer.json["message"] == 'admission webhook "m.example.com" does not support dry run'
    assert answer.status == 400
    assert (await api.post(CONFIG_MAPS, config_map())).status == 201


async def test_a_patch_does_not_change_what_the_server_owns(api, caller):
    caller.replies["m"] = lambda _: patch(
        {"op": "add", "path": "/metadata/uid", "value": "stolen"},
        {"op": "add", "path": "/metadata/creationTimestamp", "value": "1999-01-01T00:00:00Z"},
    )
    await register(api, "mutating", hook("m"))
    metadata = (await api.post(CONFIG_MAPS, config_map())).json["metadata"]
    assert metadata["uid"] != "stolen"
    assert not metadata["creationTimestamp"].startswith("1999")
    caller.replies["m"] = lambda _: patch({"op": "replace", "path": "/metadata/name", "value": "z"})
    answer = await api.post(CONFIG_MAPS, config_map("b"))
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")


async def test_what_webhooks_leave_is_defaulted_and_judged(api, caller):
    caller.replies["m"] = lambda _: patch(
        {"op": "add", "path": "/spec/containers/0/ports", "value": [{"containerPort": 80}]}
    )
    rule = {**RULE, "resources": ["pods"], "operations": ["CREATE"]}
    await register(api, "mutating", hook("m", rules=[rule]))
    pods = "/api/v1/namespaces/default/pods"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    answer = await api.post(pods, pod)
    assert answer.json["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP"}
    ]
    caller.replies["m"] = lambda _: patch(
        {"op": "replace", "path": "/spec/containers", "value": []}
    )
    answer = await api.post(pods, {**pod, "metadata": {"name": "q"}})
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    caller.replies["m"] = lambda _: patch({"op": "replace", "path": "/spec/containers", "value": 7})
    assert (await api.post(pods, {**pod, "metadata": {"name": "q"}})).status == 500
    caller.replies["m"] = lambda _: patch({"op": "remove", "path": "/nowhere"})
    assert (await api.post(pods, {**pod, "metadata": {"name": "q"}})).status == 500


async def test_the_status_only_concerns_rules_that_say_so(api, caller):
    caller.replies["m"] = lambda _: patch({"op": "add", "path": "/spec/paused", "value": True})
    caller.replies["s"] = lambda _: patch({"op": "add", "path": "/status/replicas", "value": 7})
    rule = {"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"]}
    await register(
        api, "mutating", hook("m", rules=[{**rule, "resources": ["deployments"]}]),
        hook("s", rules=[{**rule, "resources": ["deployments/status"]}]),
    )  # fmt: skip
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await api.post(path, {"metadata": {"name": "d"}, "spec": spec})
    assert caller.asked == []
    answer = await api.patch(f"{path}/d/status", {"status": {"readyReplicas": 1, "replicas": 1}})
    assert caller.asked == ["s"]
    assert answer.json["status"]["replicas"] == 7
    assert "paused" not in answer.json["spec"]
    (_, request) = caller.calls[0]
    assert (request["subResource"], request["requestSubResource"]) == ("status", "status")


async def test_configurations_themselves_concern_nobody(api, caller):
    everything = {
        "operations": ["*"],
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": ["*/*"],
    }
    await register(api, "validating", hook("gone", rules=[everything]))
    await register(api, "mutating", hook("gone", rules=[everything]), name="d")
    assert (await api.delete(f"{REGISTRATION}/mutatingwebhookconfigurations/d")).status == 200
    assert (await api.delete(f"{REGISTRATION}/validatingwebhookconfigurations/c")).status == 200
    assert caller.asked == []


async def test_selectors(api, caller):
    caller.replies["m"] = lambda _: {}
    await api.patch("/api/v1/namespaces/default", {"metadata": {"labels": {"team": "red"}}})
    await register(
        api, "validating",
        hook(
            "m", namespaceSelector={"matchLabels": {"team": "red"}},
            objectSelector={"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
        ),
    )  # fmt: skip
    await api.post(CONFIG_MAPS, config_map("a"))
    await api.post(CONFIG_MAPS, {"metadata": {"name": "b", "labels": {"skip": ""}}})
    await api.post(CONFIG_MAPS.replace("default", "kube-public"), config_map("c"))
    assert [request["name"] for _, request in caller.calls] == ["a"]


async def test_a_namespace_is_selected_by_its_own_new_labels(api, caller):
    caller.replies["m"] = lambda _: {}
    rule = {**RULE, "resources": ["namespaces"], "scope": "Cluster"}
    await register(
        api, "validating", hook("m", rules=[rule], namespaceSelector={"matchLabels": {"a": "b"}})
    )  # fmt: skip
    for name, labels in (("one", {"a": "b"}), ("two", {})):
        await api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    assert [(r["name"], r["namespace"]) for _, r in caller.calls] == [("one", "one")]


async def test_conditions_decide(api, caller):
    caller.replies["m"] = lambda _: {}
    conditions = [
        {"name": "not-leases", "expression": "request.resource.resource != 'leases'"},
        {"name": "with-data", "expression": "has(object.data) && object.data.size() > 0"},
        {"name": "by-admins", "expression": "'system:masters' in request.userInfo.groups"},
    ]
    await register(
        api,
        "validating",
        hook("m", matchConditions=conditions, rules=[{**RULE, "operations": ["CREATE"]}]),
    )
    await api.post(CONFIG_MAPS, config_map("a", x="1"))
    await api.post(CONFIG_MAPS, {"metadata": {"name": "b"}})
    assert [request["name"] for _, request in caller.calls] == ["a"]


async def test_conditions_that_fail_refuse_or_are_left_out(api, caller):
    caller.replies["m"] = lambda _: {}
    conditions = [{"name": "c", "expression": "object.data.x == '1'"}]
    await register(api, "validating", hook("m", matchConditions=conditions))
    answer = await api.post(CONFIG_MAPS, config_map("a", y="1"))
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    assert answer.json["message"] == (
        "configmaps \"a\" is forbidden: expression 'object.data.x == '1'' resulted in error: no such key: x"
    )
    await api.delete(f"{REGISTRATION}/validatingwebhookconfigurations/c")
    await register(api, "validating", hook("m", matchConditions=conditions, failurePolicy="Ignore"))
    assert (await api.post(CONFIG_MAPS, config_map("a", y="1"))).status == 201
    assert caller.asked == []


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("request.nope == ''", "compilation failed: ERROR: <input>:1:8: undefined field 'nope'"),
        ("object.metadata.name", "must evaluate to bool"),
        (
            "authorizer.group('').resource('pods').check('get').allowed()",
            "undeclared reference to 'authorizer' (in container '')",
        ),
    ],
)
async def test_conditions_that_cannot_be_evaluated_are_refused_at_once(api, expression, text):
    conditions = [{"name": "c", "expression": expression}]
    body = {"metadata": {"name": "c"}, "webhooks": [hook("m", matchConditions=conditions)]}
    answer = await api.post(f"{REGISTRATION}/validatingwebhookconfigurations", body)
    assert answer.status == 422
    assert "webhooks[0].matchConditions[0].expression: Invalid value" in answer.json["message"]
    assert text in answer.json["message"]


async def test_changes_made_while_a_webhook_thinks_are_not_lost(api, caller):
    await api.post(CONFIG_MAPS, config_map(a="1"))
    caller.replies["m"] = lambda _: {}
    call = caller.call

    async def interrupted(target, body, timeout_s):
        caller.call = call
        await api.patch(f"{CONFIG_MAPS}/a", {"data": {"b": "2"}})
        return await call(target, body, timeout_s)

    await register(
        api, "validating", hook("m", rules=[{**RULE, "operations": ["UPDATE", "DELETE"]}])
    )
    caller.call = interrupted
    answer = await api.put(f"{CONFIG_MAPS}/a", config_map(a="3"))
    stored = (await api.get(f"{CONFIG_MAPS}/a")).json["data"]
    assert (answer.status, stored) in ((409, {"a": "1", "b": "2"}), (200, {"a": "3"}))
    caller.call = interrupted
    answer = await api.delete(f"{CONFIG_MAPS}/a", {"preconditions": {"resourceVersion": "999999"}})
    assert answer.status == 409


async def test_services_are_resolved_to_ready_addresses(api, caller):
    caller.replies["m"] = lambda _: {}
    service = {"name": "hooks", "namespace": "default", "path": "/m", "port": 8443}
    await register(
        api, "validating", hook("m", clientConfig={"service": service}, timeoutSeconds=3)
    )
    answer = await api.post(CONFIG_MAPS, config_map())
    assert answer.json["message"].endswith('failed to call webhook: service "hooks" not found')
    spec = {
        "ports": [{"name": "web", "port": 443}, {"name": "tls", "port": 8443, "targetPort": "x"}]
    }
    await api.post(
        "/api/v1/namespaces/default/services", {"metadata": {"name": "hooks"}, "spec": spec}
    )
    answer = await api.post(CONFIG_MAPS, config_map())
    assert answer.json["message"].endswith('no endpoints available for service "hooks"')
    subsets = [
        {
            "addresses": [{"ip": "10.1.2.3"}],
            "notReadyAddresses": [{"ip": "10.1.2.4"}],
            "ports": [{"name": "tls", "port": 9443}, {"name": "web", "port": 80}],
        }
    ]
    endpoints = {"metadata": {"name": "hooks"}, "subsets": subsets}
    await api.post("/api/v1/namespaces/default/endpoints", endpoints)
    assert (await api.post(CONFIG_MAPS, config_map())).status == 201
    (target, timeout_s) = caller.targets[0]
    assert target.connect == ("10.1.2.3", 9443)
    assert target.server_name == "hooks.default.svc"
    assert target.url == "https://hooks.default.svc:8443/m"
    assert timeout_s == 3


async def test_old_review_versions_are_spoken(api, caller):
    caller.replies["m"] = lambda _: {"uid": ""}
    await register(api, "validating", hook("m", admissionReviewVersions=["v2", "v1beta1", "v1"]))
    assert (await api.post(CONFIG_MAPS, config_map())).status == 201
