"""Requests of users: what roles allow and what they do not."""

import pytest
from tests.unit.apiserver.kit import CONFIG_MAPS, MERGE, PODS, config_map, pod
from tests.unit.apiserver_access.kit import (
    ACCOUNTS,
    BOB,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    binding,
    made,
    role,
    rule,
)

from knarr.apiserver.auth import ANONYMOUS
from knarr.apiserver.authorization.attributes import Attributes, attributes_of
from knarr.apiserver.request import ApiRequest
from knarr.apiserver.routing import split_path
from knarr.resources.kind import UserInfo


def attributes(method, path, **query):
    request = ApiRequest(method, path, BOB, query=query)
    return attributes_of(request, split_path(path))


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/pods", {}, Attributes("list", resource="pods")),
        ("GET", "/api/v1/pods", {"watch": "1"}, Attributes("watch", resource="pods")),
        ("HEAD", "/api/v1/pods", {}, Attributes("list", resource="pods")),
        ("GET", PODS, {}, Attributes("list", resource="pods", namespace="default")),
        ("GET", f"{PODS}/p", {"watch": "1"},
         Attributes("get", resource="pods", namespace="default", name="p")),
        ("GET", PODS, {"fieldSelector": "metadata.name=p"},
         Attributes("list", resource="pods", namespace="default", name="p")),
        ("GET", PODS, {"fieldSelector": "metadata.name!=p"},
         Attributes("list", resource="pods", namespace="default")),
        ("GET", PODS, {"fieldSelector": "metadata.name=a/b"},
         Attributes("list", resource="pods", namespace="default")),
        ("DELETE", PODS, {"fieldSelector": "metadata.name=p"},
         Attributes("deletecollection", resource="pods", namespace="default")),
        ("DELETE", f"{PODS}/p", {},
         Attributes("delete", resource="pods", namespace="default", name="p")),
        ("POST", PODS, {}, Attributes("create", resource="pods", namespace="default")),
        ("PUT", f"{PODS}/p/status", {},
         Attributes("update", "", "pods", "status", "default", "p")),
        ("PATCH", f"{PODS}/p", {},
         Attributes("patch", resource="pods", namespace="default", name="p")),
        ("GET", f"{PODS}/p/log", {}, Attributes("get", "", "pods", "log", "default", "p")),
        ("GET", "/api/v1/namespaces/x", {},
         Attributes("get", resource="namespaces", namespace="x", name="x")),
        ("PUT", "/api/v1/namespaces/x/finalize", {},
         Attributes("update", "", "namespaces", "finalize", "x", "x")),
        ("GET", "/api/v1/namespaces", {}, Attributes("list", resource="namespaces")),
        ("GET", "/apis/apps/v1/deployments", {}, Attributes("list", "apps", "deployments")),
        ("BREW", "/api/v1/pods", {}, Attributes("", resource="pods")),
        ("GET", "/apis/apps/v1", {}, Attributes("get", path="/apis/apps/v1")),
        ("GET", "/api/v1/", {}, Attributes("get", path="/api/v1/")),
        ("POST", "/metrics", {}, Attributes("post", path="/metrics")),
        ("GET", "/me%74rics", {}, Attributes("get", path="/metrics")),
        ("GET", "/", {}, Attributes("get", path="/")),
    ],
)  # fmt: skip
def test_what_a_request_asks_for(method, path, query, expected):
    assert attributes(method, path, **query) == expected


async def test_nothing_is_allowed_without_a_role(api):
    answer = await api.get("/api/v1/namespaces/default/pods", user=BOB)
    assert answer.status == 403
    assert answer.json["message"] == (
        'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace '
        '"default"'
    )
    assert answer.json["details"] == {"kind": "pods"}
    answer = await api.get("/apis/apps/v1/deployments", user=BOB)
    assert answer.json["message"] == (
        'deployments.apps is forbidden: User "bob" cannot list resource "deployments" in API group '
        '"apps" at the cluster scope'
    )
    answer = await api.get(f"{PODS}/p/log", user=BOB)
    assert answer.json["message"] == (
        'pods "p" is forbidden: User "bob" cannot get resource "pods/log" in API group "" in the '
        'namespace "default"'
    )
    assert answer.json["details"] == {"name": "p", "kind": "pods"}
    answer = await api.get("/metrics", user=BOB)
    assert answer.json["message"] == 'forbidden: User "bob" cannot get path "/metrics"'
    # What does not exist is not told either.
    assert (await api.get("/apis/none.example/v1/things", user=BOB)).status == 403


async def test_everybody_authenticated_may_discover(api):
    for path in ("/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/version", "/livez"):
        assert (await api.get(path, user=BOB)).status == 200, path
    assert (await api.get("/api", user=ANONYMOUS)).status == 403
    assert (await api.get("/version", user=ANONYMOUS)).status == 200
    assert (await api.get("/readyz", user=ANONYMOUS)).status == 200


async def test_a_role_gives_its_namespace_only(api):
    await made(api, ROLES, role("reader", rule("get list watch", "pods pods/log")))
    await made(api, ROLE_BINDINGS, binding("b", "reader", "u:bob"))
    await made(api, PODS, pod("p"))
    assert (await api.get(PODS, user=BOB)).status == 200
    assert (await api.get(f"{PODS}/p", user=BOB)).status == 200
    assert (await api.get("/api/v1/namespaces/other/pods", user=BOB)).status == 403
    assert (await api.get("/api/v1/pods", user=BOB)).status == 403
    assert (await api.delete(f"{PODS}/p", user=BOB)).status == 403
    assert (await api.get(f"{PODS}/p/status", user=BOB)).status == 403
    assert (await api.get(PODS, user=UserInfo("eve", BOB.groups))).status == 403


async def test_changes_take_effect_at_once(api):
    await made(api, CLUSTER_ROLES, role("reader", rule("list", "pods")))
    await made(api, CLUSTER_ROLE_BINDINGS, binding("b", "reader", "g:team", kind="ClusterRole"))
    assert (await api.get("/api/v1/pods", user=BOB)).status == 200
    await api.put(f"{CLUSTER_ROLES}/reader", role("reader", rule("list", "secrets")))
    assert (await api.get("/api/v1/pods", user=BOB)).status == 403
    assert (await api.get("/api/v1/secrets", user=BOB)).status == 200
    await api.put(
        f"{CLUSTER_ROLE_BINDINGS}/b", binding("b", "reader", "u:alice", kind="ClusterRole")
    )
    assert (await api.get("/api/v1/secrets", user=BOB)).status == 403
    assert (await api.get("/api/v1/secrets", user=UserInfo("alice"))).status == 200
    await api.delete(f"{CLUSTER_ROLE_BINDINGS}/b")
    assert (await api.get("/api/v1/secrets", user=UserInfo("alice"))).status == 403


async def test_a_missing_role_is_named(api):
    await made(api, ROLE_BINDINGS, binding("b", "gone", "u:bob"))
    await made(api, ROLE_BINDINGS, binding("c", "away", "u:bob", kind="ClusterRole"))
    message = (await api.get(PODS, user=BOB)).json["message"]
    assert message.endswith(
        'in the namespace "default": RBAC: [role.rbac.authorization.k8s.io "gone" not found, '
        'clusterrole.rbac.authorization.k8s.io "away" not found]'
    )


async def test_names_limit_a_rule(api):
    await made(
        api, ROLES, role("one", rule("get list watch update delete", "configmaps", names="a"))
    )
    await made(api, ROLE_BINDINGS, binding("b", "one", "u:bob"))
    for name in ("a", "b"):
        await made(api, CONFIG_MAPS, config_map(name))
    assert (await api.get(f"{CONFIG_MAPS}/a", user=BOB)).status == 200
    assert (await api.get(f"{CONFIG_MAPS}/b", user=BOB)).status == 403
    assert (await api.get(CONFIG_MAPS, user=BOB)).status == 403
    only = {"fieldSelector": "metadata.name=a"}
    listed = await api.get(CONFIG_MAPS, user=BOB, query=only)
    assert [item["metadata"]["name"] for item in listed.json["items"]] == ["a"]
    assert (await api.delete(CONFIG_MAPS, user=BOB, query=only)).status == 403
    assert (await api.delete(f"{CONFIG_MAPS}/a", user=BOB)).status == 200


async def test_service_accounts_are_subjects(api):
    await made(api, ACCOUNTS, {"metadata": {"name": "robot"}})
    await made(api, ROLES, role("reader", rule("list", "pods")))
    await made(api, ROLE_BINDINGS, binding("near", "reader", "sa:robot"))
    await made(api, ROLE_BINDINGS, binding("far", "reader", "sa:other/robot"))
    for namespace, allowed in (("default", 200), ("other", 200), ("third", 403)):
        user = UserInfo(f"system:serviceaccount:{namespace}:robot")
        assert (await api.get(PODS, user=user)).status == allowed


async def test_creating_by_patch_needs_the_verb_create(api):
    await made(api, ROLES, role("patcher", rule("patch", "configmaps")))
    await made(api, ROLE_BINDINGS, binding("b", "patcher", "u:bob"))
    body = config_map("new")
    answer = await api.patch(
        f"{CONFIG_MAPS}/new", body, "application/apply-patch+yaml", user=BOB,
        query={"fieldManager": "t"},
    )  # fmt: skip
    assert answer.status == 403, answer.json
    assert 'cannot create resource "configmaps"' in answer.json["message"]
    await made(api, CONFIG_MAPS, config_map("old"))
    assert (
        await api.patch(f"{CONFIG_MAPS}/old", {"data": {"x": "y"}}, MERGE, user=BOB)
    ).status == 200


async def test_the_index_survives_a_lost_history(api):
    await made(api, CLUSTER_ROLES, role("reader", rule("list", "pods")))
    assert (await api.get("/api/v1/pods", user=BOB)).status == 403
    bound = binding("b", "reader", "u:bob", kind="ClusterRole")
    await made(api, CLUSTER_ROLE_BINDINGS, bound)
    for collection in api.store._collections.values():
        while collection.history_length:
            collection.forget_oldest()
    assert (await api.get("/api/v1/pods", user=BOB)).status == 200


@pytest.mark.parametrize(
    ("name", "can", "cannot"),
    [
        ("view", ["get pods", "list services.serving.knative.dev", "watch pods/log"],
         ["get secrets", "create pods", "get roles.rbac.authorization.k8s.io"]),
        ("edit", ["get secrets", "create pods/exec", "delete services.serving.knative.dev",
                  "create serviceaccounts/token", "list pods"],
         ["create roles.rbac.authorization.k8s.io", "update pods/status", "create namespaces"]),
        ("admin", ["create rolebindings.rbac.authorization.k8s.io", "create pods",
                   "deletecollection routes.serving.knative.dev"],
         ["create clusterroles.rbac.authorization.k8s.io", "update resourcequotas"]),
    ],
)  # fmt: skip
async def test_the_usual_roles(api, name, can, cannot):
    await made(api, ROLE_BINDINGS, binding("b", name, "u:bob", kind="ClusterRole"))
    for text, allowed in [(each, True) for each in can] + [(each, False) for each in cannot]:
        verb, _, target = text.partition(" ")
        target, _, subresource = target.partition("/")
        resource, _, group = target.partition(".")
        wanted = Attributes(verb, group, resource, subresource, "default")
        assert api.handler.authorizer.authorize(BOB, wanted).allowed is allowed, text
