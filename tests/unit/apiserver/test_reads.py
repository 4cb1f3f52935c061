"""Get, list, tables, discovery: what clients read."""

import json

import pytest
from tests.unit.apiserver.kit import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    TABLE,
    config_map,
    deployment,
    pod,
    service,
)

METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def names(answer):
    assert answer.status == 200, answer.json
    return [item["metadata"]["name"] for item in answer.json["items"]]


async def test_get_of_what_is_not_there(api):
    answer = await api.get(f"{SERVICES}/x")
    assert (answer.status, answer.json["reason"]) == (404, "NotFound")
    assert answer.json["message"] == 'services.serving.knative.dev "x" not found'
    assert answer.json["details"] == {
        "name": "x", "group": "serving.knative.dev", "kind": "services",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["/apis/nope/v1/things", "/apis/apps/v2/deployments", "/apis/serving.knative.dev/v1/nope",
     "/nope", "/openapi/v1", "/openapi/v3/apis/nope/v1", "/apis/apps/v1/nodes/x/y/z/w"],
)  # fmt: skip
async def test_unknown_groups_and_resources_answer_the_plain_page(api, path):
    answer = await api.get(path)
    assert answer.status == 404
    assert answer.response.content_type.startswith("text/plain")
    assert answer.response.body == b"404 page not found\n"


async def test_unknown_core_resources_answer_a_status(api):
    answer = await api.get("/api/v1/nope")
    assert (answer.status, answer.json["message"]) == (
        404, "the server could not find the requested resource",
    )  # fmt: skip
    assert (await api.get("/api/v1/pods/x")).status == 404


async def test_list_carries_type_and_version(api):
    await api.post(CONFIG_MAPS, config_map("b"))
    await api.post(CONFIG_MAPS, config_map("a"))
    answer = await api.get(CONFIG_MAPS + "/")
    assert names(answer) == ["a", "b"]
    assert (answer.json["kind"], answer.json["apiVersion"]) == ("ConfigMapList", "v1")
    assert answer.json["metadata"] == {"resourceVersion": str(api.store.assigned_rv)}
    empty = await api.get(SERVICES)
    assert (empty.json["kind"], empty.json["items"]) == ("ServiceList", [])


async def test_list_across_namespaces(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    await api.post("/api/v1/namespaces/kube-system/configmaps", config_map("b"))
    assert names(await api.get("/api/v1/configmaps")) == ["a", "b"]
    assert names(await api.get("/api/v1/namespaces/kube-system/configmaps")) == ["b"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=x", ["a", "b"]),
        ("app==x,tier!=front", ["b"]),
        ("tier in (front, back)", ["a", "b"]),
        ("tier notin (front)", ["b", "c"]),
        ("tier", ["a", "b"]),
        ("!tier", ["c"]),
        ("app", ["a", "b", "c"]),
        ("app=nope", []),
    ],
)
async def test_label_selectors(api, selector, expected):
    await api.post(CONFIG_MAPS, config_map("a", labels={"app": "x", "tier": "front"}))
    await api.post(CONFIG_MAPS, config_map("b", labels={"app": "x", "tier": "back"}))
    await api.post(CONFIG_MAPS, config_map("c", {"note": '"app":"x"'}, labels={"app": "y"}))
    assert names(await api.get(CONFIG_MAPS, query={"labelSelector": selector})) == expected


async def test_field_selectors(api):
    await api.post(PODS, pod("a", nodeName="n1"))
    await api.post(PODS, pod("b"))
    await api.patch(f"{PODS}/b/status", {"status": {"phase": "Running"}})

    async def selected(text, path=PODS):
        return names(await api.get(path, query={"fieldSelector": text}))

    assert await selected("metadata.name=a") == ["a"]
    assert await selected("metadata.name!=a") == ["b"]
    assert await selected("metadata.name=a", "/api/v1/pods") == ["a"]
    assert await selected("metadata.name=a,metadata.name=b") == []
    assert await selected("metadata.namespace=default", "/api/v1/pods") == ["a", "b"]
    assert await selected("metadata.namespace=other") == []
    assert await selected("spec.nodeName=n1") == ["a"]
    assert await selected("status.phase=Running") == ["b"]
    assert await selected("status.phase!=Running") == ["a"]
    bad = await api.get(PODS, query={"fieldSelector": "spec.nope=1"})
    assert (bad.status, bad.json["message"]) == (400, "field label not supported: spec.nope")
    worse = await api.get(PODS, query={"labelSelector": "a=b=c"})
    assert worse.status == 400
    assert "unable to parse requirement" in worse.json["message"]


async def test_limit_and_continue_show_one_version(api):
    for name in "abcde":
        await api.post(CONFIG_MAPS, config_map(name))
    first = await api.get(CONFIG_MAPS, query={"limit": "2"})
    meta = first.json["metadata"]
    assert (names(first), meta["remainingItemCount"]) == (["a", "b"], 3)
    await api.delete(f"{CONFIG_MAPS}/c")
    await api.post(CONFIG_MAPS, config_map("bb"))
    second = await api.get(CONFIG_MAPS, query={"limit": "2", "continue": meta["continue"]})
    assert names(second) == ["c", "d"]
    assert second.json["metadata"]["resourceVersion"] == meta["resourceVersion"]
    third = await api.get(
        CONFIG_MAPS, query={"limit": "2", "continue": second.json["metadata"]["continue"]}
    )
    assert names(third) == ["e"]
    assert "continue" not in third.json["metadata"]
    selected = await api.get(CONFIG_MAPS, query={"limit": "1", "labelSelector": "!x"})
    assert "remainingItemCount" not in selected.json["metadata"]
    both = await api.get(CONFIG_MAPS, query={"continue": meta["continue"], "resourceVersion": "3"})
    assert both.status == 400
    assert (await api.get(CONFIG_MAPS, query={"continue": "nonsense"})).status == 400


async def test_an_expired_continue_token_comes_with_a_fresh_one(api):
    for name in "abc":
        await api.post(CONFIG_MAPS, config_map(name))
    token = (await api.get(CONFIG_MAPS, query={"limit": "1"})).json["metadata"]["continue"]
    holder = api.store._collection("configmaps")
    await api.post(CONFIG_MAPS, config_map("d"))
    while holder.history_length:
        holder.forget_oldest()
    stale = await api.get(CONFIG_MAPS, query={"limit": "1", "continue": token})
    assert (stale.status, stale.json["reason"]) == (410, "Expired")
    fresh = stale.json["metadata"]["continue"]
    assert names(await api.get(CONFIG_MAPS, query={"continue": fresh})) == ["b", "c", "d"]


async def test_versions_of_lists(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    rv = api.store.assigned_rv
    await api.post(CONFIG_MAPS, config_map("b"))

    async def listed(**query):
        return await api.get(CONFIG_MAPS, query=query)

    assert names(await listed(resourceVersion="0")) == ["a", "b"]
    assert names(await listed(resourceVersion=str(rv))) == ["a", "b"]
    exact = await listed(resourceVersion=str(rv), resourceVersionMatch="Exact")
    assert (names(exact), exact.json["metadata"]["resourceVersion"]) == (["a"], str(rv))
    future = await listed(resourceVersion="999")
    assert (future.status, future.json["reason"]) == (504, "Timeout")
    assert future.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert future.json["details"]["retryAfterSeconds"] == 1
    assert ("Retry-After", "1") in future.response.headers
    assert (await listed(resourceVersion="x")).status == 400
    assert (await listed(resourceVersionMatch="Exact")).status == 422
    assert (await listed(resourceVersion="1", resourceVersionMatch="Nope")).status == 422
    assert (await listed(limit="-1")).status == 400


async def test_tables(api):
    await api.post(DEPLOYMENTS, deployment("d"))
    api.clock.advance(62)
    answer = await api.get(DEPLOYMENTS, accept=TABLE)
    table = answer.json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns[:2] == ["Name", "Ready"]
    assert columns.index("Age") == 4
    assert {column["priority"] for column in table["columnDefinitions"]} == {0, 1}
    (row,) = table["rows"]
    assert row["cells"][0] == "d"
    assert row["cells"][4] == "62s"
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == "d"
    assert table["metadata"]["resourceVersion"] == str(api.store.assigned_rv)
    whole = await api.get(DEPLOYMENTS, accept=TABLE, query={"includeObject": "Object"})
    assert whole.json["rows"][0]["object"]["spec"]["replicas"] == 1
    bare = await api.get(f"{DEPLOYMENTS}/d", accept=TABLE, query={"includeObject": "None"})
    assert bare.json["rows"][0]["object"] is None
    missing = await api.get(f"{DEPLOYMENTS}/x", accept=TABLE)
    assert missing.json["kind"] == "Status"
    assert (await api.get(DEPLOYMENTS, accept=TABLE, query={"includeObject": "Q"})).status == 400


async def test_every_kind_has_a_table(api):
    for served in api.handler.registry.all:
        kind = served.kind
        answer = await api.get(kind.collection_path("default"), accept=TABLE)
        first = "Last Seen" if kind.kind == "Event" else "Name"
        assert answer.json["columnDefinitions"][0]["name"] == first, kind.kind
        assert all(
            isinstance(column["priority"], int) and column["type"]
            for column in answer.json["columnDefinitions"]
        )


async def test_partial_metadata(api):
    await api.post(CONFIG_MAPS, config_map("a", labels={"x": "y"}))
    listed = await api.get(CONFIG_MAPS, accept=METADATA)
    assert listed.json["kind"] == "PartialObjectMetadataList"
    assert listed.json["items"][0]["metadata"]["labels"] == {"x": "y"}
    assert "data" not in listed.json["items"][0]
    one = await api.get(
        f"{CONFIG_MAPS}/a", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    )
    assert one.json["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/vnd.kubernetes.protobuf,application/json", 200),
        ("application/vnd.kubernetes.protobuf", 200),
        ("application/json, */*", 200),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,*/*", 200),
        ("text/html", 406),
    ],
)
async def test_accept(api, accept, status):
    answer = await api.get(CONFIG_MAPS, accept=accept)
    assert answer.status == status
    if status == 200:
        assert answer.json["kind"] == "ConfigMapList"


async def test_legacy_discovery(api):
    assert (await api.get("/api/")).json["versions"] == ["v1"]
    groups = (await api.get("/apis")).json
    assert groups["kind"] == "APIGroupList"
    by_name = {group["name"]: group for group in groups["groups"]}
    assert by_name["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await api.get("/apis/apps")).json["kind"] == "APIGroup"
    core = (await api.get("/api/v1")).json
    rows = {row["name"]: row for row in core["resources"]}
    assert core["groupVersion"] == "v1"
    assert rows["pods"]["shortNames"] == ["po"]
    assert rows["pods/log"]["verbs"] == ["get"]
    assert rows["namespaces"]["namespaced"] is False
    apps = {row["name"]: row for row in (await api.get("/apis/apps/v1/")).json["resources"]}
    assert apps["deployments/scale"]["kind"] == "Scale"
    assert apps["deployments/scale"]["group"] == "autoscaling"
    assert apps["deployments/status"]["verbs"] == ["get", "patch", "update"]
    assert (await api.get("/apis/nope")).status == 404


async def test_aggregated_discovery(api):
    core = await api.get("/api", accept=AGGREGATED, query={"timeout": "32s"})
    assert core.response.content_type == (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    )
    assert [item["metadata"]["name"] for item in core.json["items"]] == [""]
    groups = await api.get("/apis", accept=AGGREGATED)
    items = {item["metadata"]["name"]: item for item in groups.json["items"]}
    version = items["serving.knative.dev"]["versions"][0]
    resources = {row["resource"]: row for row in version["resources"]}
    assert resources["services"]["shortNames"] == ["kservice", "ksvc"]
    assert resources["services"]["scope"] == "Namespaced"
    assert resources["services"]["subresources"][0]["subresource"] == "status"
    headers = dict(groups.response.headers)
    assert headers["Vary"] == "Accept"
    from knarr.apiserver.auth import ADMIN
    from knarr.apiserver.request import ApiRequest

    again = await api.handler.handle(
        ApiRequest("GET", "/apis", ADMIN, accept=AGGREGATED, if_none_match=headers["ETag"])
    )
    assert again.status == 304
    assert (await api.get("/apis", accept="*/*")).json["kind"] == "APIGroupList"


async def test_openapi_lists_every_group_version_with_patch(api):
    index = (await api.get("/openapi/v3")).json["paths"]
    served = {
        f"apis/{each.kind.group}/{each.kind.version}" if each.kind.group else "api/v1"
        for each in api.handler.registry.all
    }
    assert set(index) == served
    for path, entry in index.items():
        url, _, digest = entry["serverRelativeURL"].partition("?hash=")
        document = await api.get(url, query={"hash": digest})
        assert dict(document.response.headers)["Cache-Control"].startswith("public, immutable")
        assert document.json["openapi"] == "3.0.0"
        for place, operations in document.json["paths"].items():
            patch = operations["patch"]
            assert place.startswith(f"/{path}/")
            assert {
                "name": "fieldValidation",
                "in": "query",
                "schema": {"type": "string"},
            } in patch["parameters"]
            assert set(patch["x-kubernetes-group-version-kind"]) == {"group", "version", "kind"}
        assert document.json["components"]["schemas"]


async def test_health_and_version(api):
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        answer = await api.get(path)
        assert (answer.status, answer.response.body) == (200, b"ok")
    version = (await api.get("/version/")).json
    assert version["major"] == "1"
    assert version["gitVersion"].startswith("v1.34.")


async def test_reviews(api):
    who = await api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert (who.status, who.json["status"]["userInfo"]["username"]) == (201, "system:admin")
    may = await api.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}},
    )
    assert may.json["status"]["allowed"] is True
    assert may.json["spec"]["resourceAttributes"]["verb"] == "get"
    rules = await api.post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}
    )
    assert rules.json["status"]["resourceRules"][0]["verbs"] == ["*"]
    assert (await api.get("/apis/authentication.k8s.io/v1/selfsubjectreviews")).status == 405
    wrong = await api.post(
        "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"kind": "ConfigMap"}
    )
    assert wrong.status == 400


async def test_service_and_core_service_do_not_mix(api):
    await api.post(SERVICES, service("x"))
    assert (await api.get("/api/v1/namespaces/default/services/x")).status == 404


@pytest.mark.parametrize(
    "path", ["/api/v1/namespaces/a%2fb/pods", "/api/v1//pods", "/api/v1/namespaces/../pods"]
)
async def test_paths_are_canonical(api, path):
    assert (await api.get(path)).status == 400


async def test_booleans_of_the_query(api):
    assert (await api.get(CONFIG_MAPS, query={"watch": "maybe"})).status == 400
    assert (await api.get(CONFIG_MAPS, query={"watch": "false"})).status == 200


def test_error_bodies_have_all_parts():
    from knarr.apiserver.request import error_response
    from knarr.meta.errors import TooManyRequests

    answer = error_response(TooManyRequests("slow down", retry_after_s=3))
    body = json.loads(answer.body)
    assert body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "slow down", "reason": "TooManyRequests", "code": 429,
        "details": {"retryAfterSeconds": 3},
    }  # fmt: skip
    assert answer.headers == (("Retry-After", "3"),)
