"""DELETE: finalizers, grace, propagation, preconditions, namespaces, collections."""

import pytest
from tests.unit.apiserver.kit import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    config_map,
    deployment,
    pod,
    service,
)


async def test_an_object_without_finalizers_goes_at_once(api):
    uid = (await api.post(SERVICES, service("s"))).json["metadata"]["uid"]
    options = {
        "kind": "DeleteOptions", "apiVersion": "serving.knative.dev/v1",
        "propagationPolicy": "Background",
    }  # fmt: skip
    answer = await api.delete(f"{SERVICES}/s", options)
    assert answer.status == 200
    assert answer.json == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {
            "name": "s", "group": "serving.knative.dev", "kind": "services", "uid": uid,
        },
    }  # fmt: skip
    assert (await api.get(f"{SERVICES}/s")).status == 404
    assert (await api.delete(f"{SERVICES}/s")).status == 404


async def test_finalizers_hold_and_the_last_one_lets_go(api):
    await api.post(CONFIG_MAPS, config_map("a", finalizers=["ex.dev/one", "ex.dev/two"]))
    path = f"{CONFIG_MAPS}/a"
    held = (await api.delete(path)).json
    assert held["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    before = api.store.assigned_rv
    assert (await api.delete(path)).json == held
    assert api.store.assigned_rv == before
    added = await api.patch(path, {"metadata": {"finalizers": ["ex.dev/one", "ex.dev/new"]}})
    assert added.status == 422
    assert "no new finalizers can be added if the object is being deleted" in added.json["message"]
    one = await api.patch(path, {"metadata": {"finalizers": ["ex.dev/one"]}})
    assert one.status == 200
    watch = await api.watch(CONFIG_MAPS, resourceVersion=str(api.store.assigned_rv))
    last = await api.patch(path, {"metadata": {"finalizers": None}})
    assert last.status == 200
    assert (await api.get(path)).status == 404
    event = await watch.next()
    assert event["type"] == "DELETED"
    assert event["object"]["metadata"]["resourceVersion"] == str(api.store.assigned_rv)


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [
        ({"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
        ({"propagationPolicy": "Orphan"}, ["orphan"]),
        ({"orphanDependents": True}, ["orphan"]),
    ],
)
async def test_propagation_is_left_to_the_collector_as_a_finalizer(api, options, finalizers):
    created = (await api.post(DEPLOYMENTS, deployment("d"))).json
    answer = (await api.delete(f"{DEPLOYMENTS}/d", options)).json
    assert answer["metadata"]["finalizers"] == finalizers
    assert answer["metadata"]["generation"] == created["metadata"]["generation"] + 1
    done = await api.patch(f"{DEPLOYMENTS}/d", {"metadata": {"finalizers": []}})
    assert done.status == 200
    assert (await api.get(f"{DEPLOYMENTS}/d")).status == 404


async def test_a_later_policy_replaces_the_earlier(api):
    await api.post(DEPLOYMENTS, deployment("d"))
    await api.delete(f"{DEPLOYMENTS}/d", {"propagationPolicy": "Foreground"})
    answer = await api.delete(f"{DEPLOYMENTS}/d", {"propagationPolicy": "Background"})
    assert answer.json["status"] == "Success"


async def test_options_may_come_as_query_or_protobuf(api):
    await api.post(DEPLOYMENTS, deployment("d"))
    answer = await api.delete(f"{DEPLOYMENTS}/d", query={"propagationPolicy": "Foreground"})
    assert answer.json["metadata"]["finalizers"] == ["foregroundDeletion"]
    await api.post(CONFIG_MAPS, config_map("a"))
    # DeleteOptions of some group, propagationPolicy (field 4) "Background"
    type_meta = b"\n\x02v1\x12\rDeleteOptions"
    raw = b'"\x0aBackground'
    body = (
        b"k8s\0" + b"\n" + bytes([len(type_meta)]) + type_meta + b"\x12" + bytes([len(raw)]) + raw
    )
    gone = await api.delete(
        f"{CONFIG_MAPS}/a", body, content_type="application/vnd.kubernetes.protobuf"
    )
    assert gone.json["status"] == "Success"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"propagationPolicy": "Sideways"}, 422),
        ({"gracePeriodSeconds": "x"}, 400),
        ({"kind": "ConfigMap"}, 400),
        ({"preconditions": {"uid": "other"}}, 409),
        ({"preconditions": {"resourceVersion": "1"}}, 409),
    ],
)
async def test_wrong_options_delete_nothing(api, options, status):
    await api.post(CONFIG_MAPS, config_map("a"))
    answer = await api.delete(f"{CONFIG_MAPS}/a", options)
    assert answer.status == status, answer.json
    assert (await api.get(f"{CONFIG_MAPS}/a")).status == 200


async def test_preconditions_that_hold(api):
    metadata = (await api.post(CONFIG_MAPS, config_map("a"))).json["metadata"]
    conditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    answer = await api.delete(f"{CONFIG_MAPS}/a", {"preconditions": conditions})
    assert answer.json["status"] == "Success"


async def test_pods_without_a_node_go_at_once(api):
    await api.post(PODS, pod("p"))
    await api.delete(f"{PODS}/p")
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_pods_on_a_node_have_grace(api):
    await api.post(PODS, pod("p", nodeName="n", terminationGracePeriodSeconds=60))
    path = f"{PODS}/p"
    first = (await api.delete(path)).json["metadata"]
    assert first["deletionGracePeriodSeconds"] == 60
    assert first["deletionTimestamp"] == "2026-01-01T00:01:00Z"
    longer = (await api.delete(path, {"gracePeriodSeconds": 90})).json["metadata"]
    assert longer["deletionGracePeriodSeconds"] == 60
    shorter = (await api.delete(path, {"gracePeriodSeconds": 5})).json["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert shorter["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    status = await api.patch(f"{path}/status", {"status": {"phase": "Failed"}})
    assert status.status == 200
    assert (await api.get(path)).status == 200
    last = await api.delete(path, {"gracePeriodSeconds": 0})
    assert last.status == 200
    assert (await api.get(path)).status == 404


async def test_pods_default_grace_and_ended_pods(api):
    await api.post(PODS, pod("p", nodeName="n"))
    held = (await api.delete(f"{PODS}/p")).json["metadata"]
    assert held["deletionGracePeriodSeconds"] == 30
    await api.post(PODS, pod("q", nodeName="n"))
    await api.patch(f"{PODS}/q/status", {"status": {"phase": "Succeeded"}})
    await api.delete(f"{PODS}/q")
    assert (await api.get(f"{PODS}/q")).status == 404


async def test_pods_with_finalizers_outlive_their_grace(api):
    sent = pod("p", nodeName="n")
    sent["metadata"]["finalizers"] = ["ex.dev/x"]
    await api.post(PODS, sent)
    await api.delete(f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (await api.get(f"{PODS}/p")).json["metadata"]["deletionGracePeriodSeconds"] == 0
    await api.patch(f"{PODS}/p", {"metadata": {"finalizers": None}})
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_namespaces_terminate_until_they_are_finalized(api):
    path = "/api/v1/namespaces/gone"
    created = (await api.post("/api/v1/namespaces", {"metadata": {"name": "gone"}})).json
    assert created["spec"]["finalizers"] == ["kubernetes"]
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "gone"}
    assert created["status"]["phase"] == "Active"
    held = (await api.delete(path)).json
    assert held["status"]["phase"] == "Terminating"
    unchanged = await api.patch(path, {"spec": {"finalizers": []}})
    assert unchanged.json["spec"]["finalizers"] == ["kubernetes"]
    final = await api.put(f"{path}/finalize", held | {"spec": {"finalizers": []}})
    assert final.status == 200, final.json
    assert (await api.get(path)).status == 404


async def test_delete_collection_takes_what_matches(api):
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        await api.post(CONFIG_MAPS, config_map(name, labels={"color": color}))
    answer = await api.delete(CONFIG_MAPS, query={"labelSelector": "color=red"})
    assert [item["metadata"]["name"] for item in answer.json["items"]] == ["a", "c"]
    assert answer.json["kind"] == "ConfigMapList"
    left = (await api.get(CONFIG_MAPS)).json["items"]
    assert [item["metadata"]["name"] for item in left] == ["b"]
