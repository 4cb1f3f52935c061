"""Create, update, patch: what is stored, what is refused, and in which words."""

import asyncio
import json

import pytest
from tests.unit.apiserver.kit import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JSON_PATCH,
    PODS,
    SERVICES,
    STRATEGIC,
    config_map,
    deployment,
    pod,
    service,
)

from knarr.meta.objects import Key


async def test_create_fills_in_what_the_server_owns(api):
    sent = config_map(
        "a", uid="mine", generation=7, creationTimestamp=None, selfLink="/x",
        deletionTimestamp="2020-01-01T00:00:00Z", managedFields=[{"manager": "m"}],
    )  # fmt: skip
    answer = await api.post(CONFIG_MAPS, sent)
    assert answer.status == 201
    metadata = answer.json["metadata"]
    assert len(metadata.pop("uid")) == 36
    assert int(metadata.pop("resourceVersion")) == api.store.assigned_rv
    (entry,) = metadata.pop("managedFields")
    assert (entry["manager"], entry["operation"]) == ("unknown", "Update")
    assert metadata == {
        "name": "a", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    assert answer.json["apiVersion"] == "v1"
    assert answer.json["kind"] == "ConfigMap"
    assert (await api.get(f"{CONFIG_MAPS}/a")).json == answer.json


async def test_api_version_and_kind_may_be_left_out(api):
    answer = await api.post(CONFIG_MAPS, {"metadata": {"name": "pc"}, "data": {"a": "b"}})
    assert (answer.status, answer.json["kind"]) == (201, "ConfigMap")


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"kind": "Secret"}, 400, "cannot be handled as a ConfigMap"),
        ({"apiVersion": "v2"}, 400, "does not match the expected API version (v1)"),
        ({"metadata": {"name": "a", "namespace": "other"}}, 400, "the namespace of the provided object does not match the namespace sent on the request"),
        ({"metadata": {"name": "a", "resourceVersion": "3"}}, 400, "resourceVersion should not be set on objects to be created"),
        ({"metadata": {}}, 422, "name or generateName is required"),
        ({"metadata": {"name": "No_Good"}}, 422, "a lowercase RFC 1123 subdomain must consist"),
        ({"metadata": {"name": "a", "labels": {"x": "-"}}}, 422, "a valid label must be"),
        ({"data": {"a": 1}}, 400, "data"),
        ({"metadata": 5}, 400, "metadata: expected an object"),
    ],
)  # fmt: skip
async def test_create_refuses(api, change, status, text):
    answer = await api.post(CONFIG_MAPS, config_map("a") | change)
    assert answer.status == status, answer.json
    assert text in answer.json["message"]
    assert answer.json["code"] == status
    assert api.store.size("configmaps") == 0


async def test_create_needs_a_namespace_that_stays(api):
    missing = await api.post("/api/v1/namespaces/nope/configmaps", config_map("a"))
    assert (missing.status, missing.json["message"]) == (404, 'namespaces "nope" not found')
    await api.delete("/api/v1/namespaces/knative-eventing")
    dying = await api.post("/api/v1/namespaces/knative-eventing/configmaps", config_map("a"))
    assert dying.status == 403
    assert "because it is being terminated" in dying.json["message"]
    assert dying.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"


async def test_names_are_taken_once(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    answer = await api.post(CONFIG_MAPS, config_map("a"))
    assert answer.status == 409
    assert answer.json["reason"] == "AlreadyExists"
    assert answer.json["message"] == 'configmaps "a" already exists'
    assert answer.json["details"] == {"name": "a", "kind": "configmaps"}
    custom = await api.post(SERVICES, service("a"))
    again = await api.post(SERVICES, service("a"))
    assert custom.status == 201
    assert again.json["message"] == 'services.serving.knative.dev "a" already exists'


async def test_generated_names_differ(api):
    names = set()
    for _ in range(30):
        answer = await api.post(CONFIG_MAPS, {"metadata": {"generateName": "x-"}})
        assert answer.json["metadata"]["generateName"] == "x-"
        names.add(answer.json["metadata"]["name"])
    assert len(names) == 30
    assert all(len(name) == 7 for name in names)


async def test_dry_run_answers_in_full_and_stores_nothing(api):
    before = api.store.assigned_rv
    answer = await api.post(CONFIG_MAPS, config_map("a"), query={"dryRun": "All"})
    assert answer.status == 201
    assert answer.json["metadata"]["uid"]
    assert "resourceVersion" not in answer.json["metadata"]
    assert (await api.get(f"{CONFIG_MAPS}/a")).status == 404
    wrong = await api.post(CONFIG_MAPS, config_map("a"), query={"dryRun": "some"})
    assert wrong.status == 422
    await api.post(CONFIG_MAPS, config_map("a"))
    patched = await api.patch(f"{CONFIG_MAPS}/a", {"data": {"z": "1"}}, query={"dryRun": "All"})
    assert patched.json["data"]["z"] == "1"
    gone = await api.delete(f"{CONFIG_MAPS}/a", query={"dryRun": "All"})
    assert gone.json["status"] == "Success"
    assert api.store.assigned_rv == before + 1


async def test_update_follows_the_version(api):
    first = (await api.post(CONFIG_MAPS, config_map("a"))).json
    second = await api.put(f"{CONFIG_MAPS}/a", first | {"data": {"new": "1"}})
    assert (second.status, second.json["data"]) == (200, {"new": "1"})
    stale = await api.put(f"{CONFIG_MAPS}/a", first | {"data": {"x": "2"}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    assert stale.json["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply '
        "your changes to the latest version and try again"
    )
    unconditional = await api.put(f"{CONFIG_MAPS}/a", config_map("a", {"u": "1"}))
    assert unconditional.status == 200
    missing = await api.put(f"{CONFIG_MAPS}/b", config_map("b"))
    assert missing.status == 404
    other_name = await api.put(f"{CONFIG_MAPS}/a", config_map("b"))
    assert "does not match the name on the URL" in other_name.json["message"]
    other_uid = await api.put(f"{CONFIG_MAPS}/a", config_map("a", uid="another"))
    assert other_uid.status == 409


async def test_custom_kinds_need_a_version_for_put(api):
    stored = (await api.post(SERVICES, service("a"))).json
    answer = await api.put(f"{SERVICES}/a", service("a", image="other"))
    assert answer.status == 422
    assert answer.json["message"] == (
        'services.serving.knative.dev "a" is invalid: metadata.resourceVersion: Invalid value: 0: must '
        "be specified for an update"
    )
    stored["spec"]["template"]["spec"]["timeoutSeconds"] = 7
    assert (await api.put(f"{SERVICES}/a", stored)).status == 200


async def test_a_write_that_changes_nothing_changes_nothing(api):
    stored = (await api.post(DEPLOYMENTS, deployment("d"))).json
    before = api.store.assigned_rv
    shuffled = dict(reversed(list(stored.items())))
    shuffled["spec"] = dict(reversed(list(stored["spec"].items())))
    for answer in (
        await api.put(f"{DEPLOYMENTS}/d", shuffled),
        await api.patch(f"{DEPLOYMENTS}/d", {}),
        await api.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": 1}}),
        await api.patch(f"{DEPLOYMENTS}/d", {"spec": {"progressDeadlineSeconds": None}}),
        await api.patch(f"{DEPLOYMENTS}/d/status", {"status": None}),
    ):
        assert answer.status == 200, answer.json
        assert answer.json == stored
    assert api.store.assigned_rv == before


async def test_generation_counts_what_was_asked_for(api):
    async def generation(path, body, **more):
        return (await api.patch(path, body, **more)).json["metadata"]["generation"]

    assert (await api.post(DEPLOYMENTS, deployment("d"))).json["metadata"]["generation"] == 1
    path = f"{DEPLOYMENTS}/d"
    assert await generation(path, {"metadata": {"labels": {"a": "b"}}}) == 1
    assert await generation(f"{path}/status", {"status": {"replicas": 3}}) == 1
    assert await generation(path, {"spec": {"replicas": 4}}) == 2
    assert (await api.post(SERVICES, service("s"))).json["metadata"]["generation"] == 1
    path = f"{SERVICES}/s"
    assert await generation(path, {"metadata": {"annotations": {"a": "b"}}}) == 1
    assert await generation(path, {"status": {"observedGeneration": 9}}) == 1
    assert await generation(path, {"spec": {"template": {"spec": {"timeoutSeconds": 5}}}}) == 2
    assert "generation" not in (await api.post(CONFIG_MAPS, config_map("a"))).json["metadata"]


async def test_main_endpoint_and_status_keep_apart(api):
    sent = deployment("d") | {"status": {"replicas": 9}}
    created = (await api.post(DEPLOYMENTS, sent)).json
    assert "status" not in created or "replicas" not in created["status"]
    path = f"{DEPLOYMENTS}/d"
    status = await api.put(
        f"{path}/status",
        created
        | {
            "status": {"replicas": 2},
            "metadata": created["metadata"]
            | {"labels": {"ignored": "1"}, "annotations": {"kept": "1"}},
        }
        | {"spec": deployment("d", replicas=50)["spec"]},
    )
    assert status.json["status"] == {"replicas": 2}
    assert status.json["spec"] == created["spec"]
    assert "labels" not in status.json["metadata"]
    assert status.json["metadata"]["annotations"] == {"kept": "1"}
    assert status.json["metadata"]["generation"] == 1
    main = await api.patch(path, {"spec": {"replicas": 3}, "status": {"replicas": 77}})
    assert main.json["status"] == {"replicas": 2}
    stale = await api.put(f"{path}/status", created | {"status": {"replicas": 3}})
    assert stale.status == 409
    assert (await api.get(f"{path}/status")).json == main.json


async def test_unknown_fields_follow_field_validation(api):
    sent = service("s") | {"bogus": 1}
    sent["spec"]["template"]["spec"]["containers"][0]["zz"] = 1
    strict = await api.post(SERVICES, sent, query={"fieldValidation": "Strict"})
    assert strict.status == 400
    assert strict.json["message"] == (
        'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field '
        '"bogus", unknown field "spec.template.spec.containers[0].zz"'
    ) or strict.json["message"] == (
        'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field '
        '"spec.template.spec.containers[0].zz", unknown field "bogus"'
    )
    warned = await api.post(SERVICES, sent)
    assert warned.status == 201
    assert 'unknown field "bogus"' in warned.warnings
    assert 'unknown field "spec.template.spec.containers[0].zz"' in warned.warnings
    assert "bogus" not in warned.json
    ignored = await api.patch(f"{SERVICES}/s", {"bogus": 2}, query={"fieldValidation": "Ignore"})
    assert not [text for text in ignored.warnings if "bogus" in text]
    assert (await api.patch(f"{SERVICES}/s", {}, query={"fieldValidation": "No"})).status == 422


async def test_fields_of_kubernetes_that_are_not_supported_are_refused_by_name(api):
    for mode in ("Strict", "Warn", "Ignore"):
        answer = await api.post(
            PODS, pod("p", hostAliases=[{"ip": "1.2.3.4"}]), query={"fieldValidation": mode}
        )
        assert answer.status == 422, answer.json
        (cause,) = answer.json["details"]["causes"]
        assert cause["reason"] == "FieldValueForbidden"
        assert cause["field"] == "spec.hostAliases"
        assert "not supported by Knarr: remove it" in answer.json["message"]
    nested = service("s")
    nested["spec"]["template"]["spec"]["topologySpreadConstraints"] = [{"maxSkew": 1}]
    answer = await api.post(SERVICES, nested)
    assert answer.status in (400, 422)
    assert "spec.template.spec.topologySpreadConstraints" in answer.json["message"]


async def test_empty_values_of_unsupported_fields_mean_absent(api):
    sent = pod("p", hostAliases=[], overhead={}, ephemeralContainers=None, hostPID=False)
    answer = await api.post(PODS, sent, query={"fieldValidation": "Strict"})
    assert answer.status == 201, answer.json
    assert not answer.warnings


async def test_validation_of_a_custom_kind_reads_like_a_webhook(api):
    sent = service("s")
    sent["spec"]["template"]["spec"]["containers"] = [{"env": [{"name": "A"}]}]
    answer = await api.post(SERVICES, sent)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert answer.json["message"].startswith(
        'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation '
        "failed: missing field(s): spec.template.spec.containers[0].image"
    )


async def test_type_errors_name_the_field(api):
    wrong = deployment("d")
    wrong["spec"]["replicas"] = "three"
    answer = await api.post(DEPLOYMENTS, wrong)
    assert answer.status == 400
    assert (
        answer.json["message"]
        == (
            'Deployment in version "v1" cannot be handled as a Deployment: spec.replicas: expected an '
            "integer, got a string"
        )
        or "spec.replicas: expected" in answer.json["message"]
    )
    custom = service("s")
    custom["spec"]["template"]["spec"]["timeoutSeconds"] = "x"
    answer = await api.post(SERVICES, custom)
    assert answer.status == 422
    assert answer.json["details"]["causes"][0]["reason"] == "FieldValueTypeInvalid"
    assert answer.json["details"]["causes"][0]["field"] == "spec.template.spec.timeoutSeconds"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"metadata":{"name":"a","name":"b"}}', "duplicate field 'name'"),
        (b'{"metadata":{"name":"a"},"data":{"x":NaN}}', "not valid JSON"),
        (b'{"metadata":', "not valid JSON"),
        (b"[1]", "the body must be an object"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested more than 64 levels"),
        (b"[" * 100_000, "not valid JSON|nested"),
    ],
)
async def test_malformed_json_is_refused_in_clear_words(api, body, text):
    answer = await api.post(CONFIG_MAPS, body)
    assert answer.status == 400
    assert any(part in answer.json["message"] for part in text.split("|"))


async def test_yaml_bodies(api):
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  a: 'yes'\n"
    answer = await api.post(CONFIG_MAPS, text, content_type="application/yaml")
    assert (answer.status, answer.json["data"]) == (201, {"a": "yes"})
    shown = await api.get(f"{CONFIG_MAPS}/y", accept="application/yaml")
    assert shown.response.content_type == "application/yaml"
    assert b"name: y" in shown.response.body


async def test_other_bodies_are_415(api):
    answer = await api.post(CONFIG_MAPS, b"a=b", content_type="application/x-www-form-urlencoded")
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")


async def test_merge_patch(api):
    await api.post(CONFIG_MAPS, config_map("a", {"x": "1", "y": "2"}))
    answer = await api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": None, "z": "3"}})
    assert answer.json["data"] == {"y": "2", "z": "3"}
    conflict = await api.patch(
        f"{CONFIG_MAPS}/a", {"metadata": {"resourceVersion": "1"}, "data": {"q": "1"}}
    )
    assert conflict.status == 409
    assert (await api.patch(f"{CONFIG_MAPS}/b", {})).status == 404
    assert (await api.patch(f"{CONFIG_MAPS}/a", [1])).status == 400
    renamed = await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"name": "b"}})
    assert renamed.status == 400


async def test_json_patch(api):
    await api.post(CONFIG_MAPS, config_map("a", {"x": "1"}))
    path = f"{CONFIG_MAPS}/a"
    operations = [
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "add", "path": "/data/y", "value": "2"},
        {"op": "copy", "from": "/data/y", "path": "/data/z"},
        {"op": "remove", "path": "/data/x"},
    ]
    answer = await api.patch(path, operations, JSON_PATCH)
    assert answer.json["data"] == {"y": "2", "z": "2"}
    again = await api.patch(path, operations, JSON_PATCH)
    assert (again.status, again.json["reason"]) == (422, "Invalid")
    assert "/data/x" in again.json["message"] or "'x'" in again.json["message"]
    assert (await api.patch(path, {"op": "add"}, JSON_PATCH)).status == 400


async def test_strategic_merge_patch_is_for_kubernetes_kinds(api):
    await api.post(DEPLOYMENTS, deployment("d"))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "n:2"}]}}}}
    answer = await api.patch(f"{DEPLOYMENTS}/d", change, STRATEGIC)
    (container,) = answer.json["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["ports"][0]["containerPort"]) == ("n:2", 80)
    await api.post(SERVICES, service("s"))
    refused = await api.patch(f"{SERVICES}/s", {}, STRATEGIC)
    assert refused.status == 415
    assert "application/merge-patch+json" in refused.json["message"]


async def test_objects_have_a_size_limit(api):
    answer = await api.post(DEPLOYMENTS, deployment("d", image="y" * 1_600_000))
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")
    assert api.store.size("deployments.apps") == 0


async def test_scale(api):
    await api.post(DEPLOYMENTS, deployment("d", replicas=2))
    path = f"{DEPLOYMENTS}/d/scale"
    shown = (await api.get(path)).json
    assert (shown["kind"], shown["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert shown["spec"] == {"replicas": 2}
    assert shown["status"] == {"replicas": 0, "selector": "app=d"}
    merged = await api.patch(path, {"spec": {"replicas": 3}})
    assert (merged.json["kind"], merged.json["spec"]) == ("Scale", {"replicas": 3})
    patched = await api.patch(
        path, [{"op": "replace", "path": "/spec/replicas", "value": 5}], JSON_PATCH
    )
    assert patched.json["spec"]["replicas"] == 5
    put = await api.put(path, patched.json | {"spec": {"replicas": 0}})
    assert put.status == 200
    assert (await api.get(path)).json["spec"].get("replicas", 0) == 0
    stored = (await api.get(f"{DEPLOYMENTS}/d")).json
    assert (stored["spec"]["replicas"], stored["metadata"]["generation"]) == (0, 4)
    assert (await api.put(path, shown)).status == 409
    assert (await api.patch(path, {"spec": {"replicas": -1}})).status == 422
    assert (await api.get(f"{CONFIG_MAPS}/d/scale")).status == 404


async def test_methods_that_are_not_offered(api):
    for method, path in (
        ("POST", f"{CONFIG_MAPS}/a"), ("PUT", CONFIG_MAPS), ("PATCH", CONFIG_MAPS),
        ("POST", f"{DEPLOYMENTS}/d/status"),
    ):  # fmt: skip
        answer = await api.call(method, path, {})
        assert (answer.status, answer.json["reason"]) == (405, "MethodNotAllowed")


async def test_a_write_decided_on_a_staged_one_waits_for_it(tmp_path):
    import asyncio
    import random

    from tests.unit.apiserver.kit import Api

    from knarr.apiserver.auth import ADMIN
    from knarr.apiserver.bootstrap import ensure_builtin_objects
    from knarr.apiserver.handler import Handler
    from knarr.apiserver.inprocess import InProcessTransport
    from knarr.kits.clock import ManualClock
    from knarr.resources.catalog import KINDS
    from knarr.store.store import Store

    async with Store(tmp_path / "k.db") as store:
        handler = Handler(store, KINDS, ManualClock(), random.Random(1))
        await ensure_builtin_objects(InProcessTransport(handler, ADMIN))
        api = Api(handler, store, ManualClock())
        async with asyncio.TaskGroup() as group:
            group.create_task(api.post(CONFIG_MAPS, config_map("a")))
            await asyncio.sleep(0)
            same = group.create_task(api.patch(f"{CONFIG_MAPS}/a", {}))
            await asyncio.sleep(0)
            assert store.get("configmaps", Key("default", "a")) is None
            assert not same.done()
        assert same.result().status == 200


async def test_a_crash_inside_is_an_opaque_500(api, monkeypatch, caplog):
    def explode(*_args):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.store, "get", explode)
    answer = await api.get(f"{CONFIG_MAPS}/a")
    assert (answer.status, answer.json["reason"]) == (500, "InternalError")
    assert "secret" not in json.dumps(answer.json)
    assert "secret detail" in caplog.text


async def test_a_refusal_waits_for_the_write_that_caused_it(api):
    async def create_again():
        answer = await api.post(CONFIG_MAPS, config_map("a"))
        return answer.status, api.store.get("configmaps", Key("default", "a")) is not None

    async with asyncio.TaskGroup() as group:
        first = group.create_task(api.post(CONFIG_MAPS, config_map("a")))
        second = group.create_task(create_again())
    assert first.result().status == 201
    assert second.result() == (409, True)


async def test_numbers_beyond_32_bits_are_refused_where_kubernetes_has_no_more(api):
    refused = await api.post(
        DEPLOYMENTS,
        deployment("d") | {"spec": {**deployment("d")["spec"], "replicas": 5_000_000_000}},
    )
    assert refused.status == 400
    assert refused.json["message"].endswith(
        "json: cannot unmarshal number 5000000000 into Go struct field DeploymentSpec.spec.replicas "
        "of type int32"
    )  # fmt: skip
    large = pod("p")
    large["spec"]["activeDeadlineSeconds"] = 5_000_000_000
    answer = await api.post(PODS, large)
    assert "unmarshal" not in str(answer.json)


async def test_a_patch_that_leads_to_no_object_is_invalid(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    refused = await api.patch(f"{CONFIG_MAPS}/a", {"data": {"a": {"x": 1}}})
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert refused.json["details"]["causes"][0]["field"] == "patch"
    strict = await api.patch(f"{CONFIG_MAPS}/a", {"bogus": 1}, query={"fieldValidation": "Strict"})
    assert strict.status == 422
    assert 'strict decoding error: unknown field "bogus"' in strict.json["message"]
