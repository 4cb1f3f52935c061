"""Server-side apply and managedFields through the API."""

import json

import pytest
from tests.unit.apiserver.kit import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    MERGE,
    SERVICES,
    config_map,
    deployment,
    service,
)

APPLY = "application/apply-patch+yaml"


def configuration(name="a", **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


async def apply(api, path, body, manager="one", **query):
    return await api.patch(path, body, APPLY, query={"fieldManager": manager, **query})


def owners(answer):
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in answer.json["metadata"].get("managedFields", ())
    }


async def test_apply_creates_then_changes_then_removes(api):
    made = await apply(api, f"{CONFIG_MAPS}/a", configuration(x="1", y="2"))
    assert made.status == 201
    assert owners(made) == {("one", "Apply", ""): {"f:data": {"f:x": {}, "f:y": {}}}}
    less = await apply(api, f"{CONFIG_MAPS}/a", configuration(x="3"))
    assert (less.status, less.json["data"]) == (200, {"x": "3"})


async def test_apply_is_yaml(api):
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: '1'\n"
    assert (await apply(api, f"{CONFIG_MAPS}/a", text)).json["data"] == {"x": "1"}


async def test_applying_the_same_again_changes_nothing(api):
    made = await apply(api, f"{CONFIG_MAPS}/a", configuration(x="1"))
    api.clock.advance(90)
    again = await apply(api, f"{CONFIG_MAPS}/a", configuration(x="1"))
    assert again.json == made.json


async def test_conflicts_name_the_owner_and_force_takes_over(api):
    await apply(api, f"{CONFIG_MAPS}/a", configuration(x="1"))
    refused = await apply(api, f"{CONFIG_MAPS}/a", configuration(x="2"), "two")
    assert (refused.status, refused.json["reason"]) == (409, "Conflict")
    assert refused.json["message"] == ('Apply failed with 1 conflict: conflict with "one": .data.x')
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}
    ]
    forced = await apply(api, f"{CONFIG_MAPS}/a", configuration(x="2"), "two", force="true")
    assert (forced.status, forced.json["data"]) == (200, {"x": "2"})
    assert set(owners(forced)) == {("two", "Apply", "")}


async def test_plain_writes_own_what_they_change(api):
    await api.post(CONFIG_MAPS, config_map("a", data={"x": "1"}), query={"fieldManager": "maker"})
    patched = await api.patch(
        f"{CONFIG_MAPS}/a", {"data": {"y": "2"}}, MERGE, query={"fieldManager": "patcher"}
    )
    assert owners(patched)["patcher", "Update", ""] == {"f:data": {"f:y": {}}}
    refused = await apply(api, f"{CONFIG_MAPS}/a", configuration(y="3"))
    assert 'conflict with "patcher" using v1: .data.y' in refused.json["message"]


async def test_dry_run_stores_nothing(api):
    answer = await apply(api, f"{CONFIG_MAPS}/a", configuration(x="1"), dryRun="All")
    assert answer.status == 201
    assert (await api.get(f"{CONFIG_MAPS}/a")).status == 404


@pytest.mark.parametrize(
    ("body", "query", "status", "text"),
    [
        (configuration(x="1"), {"fieldManager": ""}, 422, "is required for apply patch"),
        (configuration("b"), {}, 400, "does not match the name on the URL"),
        ({"kind": "ConfigMap"}, {}, 400, "invalid object type"),
        (configuration() | {"kind": "Secret"}, {}, 400, "invalid object type"),
        (configuration() | {"metadata": {"managedFields": [{}]}}, {}, 400, "must be nil"),
        (configuration() | {"metadata": {"uid": "x"}}, {}, 409, "uid mismatch"),
        (configuration() | {"data": ["x"]}, {}, 400, "failed to create typed patch object"),
        (b"a: [", {}, 400, ""),
        (b"- 1", {}, 400, "must be an object"),
    ],
)
async def test_apply_refuses(api, body, query, status, text):
    answer = await api.patch(
        f"{CONFIG_MAPS}/a", body, APPLY, query={"fieldManager": "one", **query}
    )
    assert answer.status == status, answer.response.body
    assert text in answer.json["message"]
    assert (await api.get(f"{CONFIG_MAPS}/a")).status == 404


async def test_force_is_for_applies(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    answer = await api.patch(f"{CONFIG_MAPS}/a", {}, MERGE, query={"force": "true"})
    assert answer.status == 422


async def test_lists_with_keys_merge(api):
    await api.post(DEPLOYMENTS, deployment("d"), query={"fieldManager": "maker"})
    extra = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "more", "image": "y"}]}}},
    }
    answer = await apply(api, f"{DEPLOYMENTS}/d", extra)
    assert answer.status == 200, answer.response.body
    names = [each["name"] for each in answer.json["spec"]["template"]["spec"]["containers"]]
    assert len(names) == 2
    assert "more" in names


async def test_status_and_scale_have_entries_of_their_own(api):
    await api.post(DEPLOYMENTS, deployment("d"), query={"fieldManager": "maker"})
    status = await api.patch(
        f"{DEPLOYMENTS}/d/status", {"status": {"replicas": 1}}, query={"fieldManager": "kubelet"}
    )
    assert owners(status)["kubelet", "Update", "status"] == {"f:status": {"f:replicas": {}}}
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "d"},
        "spec": {"replicas": 4},
    }
    refused = await apply(api, f"{DEPLOYMENTS}/d/scale", scale, "scaler")
    assert refused.status == 409
    forced = await apply(api, f"{DEPLOYMENTS}/d/scale", scale, "scaler", force="true")
    assert (forced.status, forced.json["spec"]["replicas"]) == (200, 4)
    parent = await api.get(f"{DEPLOYMENTS}/d")
    assert parent.json["spec"]["replicas"] == 4
    assert owners(parent)["scaler", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}


async def test_defaults_of_a_custom_kind_belong_to_nobody(api):
    config = service("s")
    config["metadata"].pop("namespace", None)
    made = await apply(api, f"{SERVICES}/s", config)
    assert made.status == 201, made.response.body
    fields = json.dumps(owners(made)["one", "Apply", ""])
    assert "timeoutSeconds" not in fields
    again = await apply(api, f"{SERVICES}/s", config)
    assert again.json["metadata"]["resourceVersion"] == made.json["metadata"]["resourceVersion"]
