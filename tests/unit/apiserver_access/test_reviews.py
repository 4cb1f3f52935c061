"""Questions: who am I, what may I do, whose token is this."""

import pytest
from tests.unit.apiserver_access.conftest import ADMIN_TOKEN
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

from knarr.apiserver.authentication.claims import ISSUER
from knarr.resources.kind import UserInfo

AUTHENTICATION = "/apis/authentication.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
SELF = f"{AUTHORIZATION}/selfsubjectaccessreviews"
OTHER = f"{AUTHORIZATION}/subjectaccessreviews"
LOCAL = f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"
RULES = f"{AUTHORIZATION}/selfsubjectrulesreviews"
TOKENS = f"{AUTHENTICATION}/tokenreviews"


async def ask(api, path, spec, **more):
    return (await made(api, path, {"spec": spec}, **more))["status"]


async def test_who_am_i(api):
    user = UserInfo("bob", ("a",), "7", {"example.com/x": ("1", "2")})
    user = UserInfo(user.name, (*user.groups, "system:authenticated"), user.uid, user.extra)
    answer = await made(api, f"{AUTHENTICATION}/selfsubjectreviews", {}, user=user)
    assert answer["status"] == {
        "userInfo": {
            "username": "bob", "uid": "7", "groups": ["a", "system:authenticated"],
            "extra": {"example.com/x": ["1", "2"]},
        }
    }  # fmt: skip
    assert "spec" not in answer


async def test_what_may_i_do(api):
    await made(api, ROLES, role("r", rule("get", "pods")))
    await made(api, ROLE_BINDINGS, binding("b", "r", "g:team"))
    pods = {"verb": "get", "resource": "pods", "namespace": "default"}
    assert await ask(api, SELF, {"resourceAttributes": pods}, user=BOB) == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "b/default" of Role "r" to Group "team"',
    }
    pods["namespace"] = "other"
    assert await ask(api, SELF, {"resourceAttributes": pods}, user=BOB) == {"allowed": False}
    path = {"path": "/apis", "verb": "get"}
    status = await ask(api, SELF, {"nonResourceAttributes": path}, user=BOB)
    assert status["reason"] == (
        'RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to '
        'Group "system:authenticated"'
    )
    assert await ask(api, SELF, {"resourceAttributes": pods}) == {"allowed": True}


async def test_what_may_others_do(api):
    await made(api, CLUSTER_ROLES, role("r", rule("get", "pods/log")))
    await made(api, CLUSTER_ROLE_BINDINGS, binding("b", "r", "sa:ns/x", kind="ClusterRole"))
    log = {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "default"}
    account = "system:serviceaccount:ns:x"
    spec = {"resourceAttributes": log, "user": account}
    assert await ask(api, OTHER, spec) == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to ServiceAccount "x/ns"',
    }
    masters = {"resourceAttributes": log, "groups": ["system:masters"]}
    assert await ask(api, OTHER, masters) == {"allowed": True}
    assert (await api.post(OTHER, {"spec": spec}, user=BOB)).status == 403


async def test_local_reviews(api):
    wanted = {"verb": "get", "resource": "pods", "namespace": "default"}
    document = {
        "metadata": {"namespace": "default"}, "spec": {"resourceAttributes": wanted, "user": "bob"},
    }  # fmt: skip
    answer = await made(api, LOCAL, document)
    assert answer["status"] == {"allowed": False}
    assert answer["metadata"]["namespace"] == "default"
    document["spec"]["resourceAttributes"] = wanted | {"namespace": "other"}
    wrong = await api.post(LOCAL, document)
    assert "must match metadata.namespace" in wrong.json["message"]
    assert (await api.post(LOCAL.replace("namespaces/default/", ""), document)).status == 404
    assert (
        await api.post(f"{AUTHORIZATION}/namespaces/x/subjectaccessreviews", document)
    ).status == 404


@pytest.mark.parametrize(
    ("path", "spec", "text"),
    [
        (SELF, {}, "exactly one of nonResourceAttributes or resourceAttributes must be specified"),
        (SELF, {"resourceAttributes": {}, "nonResourceAttributes": {"path": "/"}},
         "cannot be specified in combination with resourceAttributes"),
        (OTHER, {"resourceAttributes": {}}, "at least one of user or group must be specified"),
        (LOCAL, {"nonResourceAttributes": {"path": "/"}, "user": "x"},
         "disallowed on this kind of request"),
    ],
)  # fmt: skip
async def test_questions_must_be_complete(api, path, spec, text):
    answer = await api.post(path, {"spec": spec})
    assert answer.status == 422
    assert text in answer.json["message"]


async def test_other_mistakes(api):
    named = await api.post(SELF, {"metadata": {"name": "x"}, "spec": {"resourceAttributes": {}}})
    assert (named.status, "must be empty" in named.json["message"]) == (422, True)
    assert (await api.get(SELF)).status == 405
    assert (await api.post(SELF, {"kind": "Pod", "apiVersion": "v1"})).status == 400
    assert (await api.post(SELF, {"spec": {"resourceAttributes": {"verb": 1}}})).status == 400
    assert (await api.post(SELF, b"{")).status == 400
    assert (await api.post(RULES, {})).status == 400
    assert (await api.post(TOKENS, {})).status == 400


async def test_my_rules(api):
    await made(api, ROLES, role("r", rule("get", "pods", names="p")))
    await made(api, ROLE_BINDINGS, binding("b", "r", "u:bob", "g:team"))
    await made(api, ROLE_BINDINGS, binding("c", "gone", "u:bob"))
    status = await ask(api, RULES, {"namespace": "default"}, user=BOB)
    mine = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["p"]}
    assert status["resourceRules"].count(mine) == 1
    assert {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]
            } in status["nonResourceRules"]  # fmt: skip
    assert status["evaluationError"] == 'role.rbac.authorization.k8s.io "gone" not found'
    assert status["incomplete"] is False
    everything = await ask(api, RULES, {"namespace": "default"})
    assert everything["resourceRules"][0] == {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
    }


async def test_whose_token_is_this(api):
    account = await made(api, ACCOUNTS, {"metadata": {"name": "robot"}})
    token = (await made(api, f"{ACCOUNTS}/robot/token", {}))["status"]["token"]
    status = await ask(api, TOKENS, {"token": token})
    assert status["authenticated"] is True
    assert status["audiences"] == [ISSUER]
    assert status["user"]["username"] == "system:serviceaccount:default:robot"
    assert status["user"]["uid"] == account["metadata"]["uid"]
    assert (await ask(api, TOKENS, {"token": ADMIN_TOKEN}))["user"]["username"] == "system:admin"
    for spec in ({"token": "x"}, {"token": token, "audiences": ["vault"]},
                 {"token": ADMIN_TOKEN, "audiences": ["vault"]}):  # fmt: skip
        status = await ask(api, TOKENS, spec)
        assert "authenticated" not in status
        assert "invalid bearer token" in status["error"]
    assert (await api.post(TOKENS, {"spec": {"token": token}}, user=BOB)).status == 403


async def test_protobuf_questions(api):
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    attributes = field(1, b"default") + field(2, b"get") + field(5, b"pods")
    meta = field(1, b"authorization.k8s.io/v1") + field(2, b"SelfSubjectAccessReview")
    review = field(1, b"") + field(2, field(1, attributes))
    body = b"k8s\0" + field(1, meta) + field(2, review)
    answer = await api.post(
        SELF, body, content_type="application/vnd.kubernetes.protobuf", user=BOB
    )
    assert (answer.status, answer.json["status"]) == (201, {"allowed": False})


async def test_discovery_lists_them(api):
    rows = (await api.get(AUTHORIZATION)).json["resources"]
    assert {row["name"]: row["namespaced"] for row in rows} == {
        "localsubjectaccessreviews": True, "selfsubjectaccessreviews": False,
        "selfsubjectrulesreviews": False, "subjectaccessreviews": False,
    }  # fmt: skip
    names = {row["name"]: row for row in (await api.get("/api/v1")).json["resources"]}
    assert names["serviceaccounts/token"]["kind"] == "TokenRequest"
    assert names["serviceaccounts/token"]["group"] == "authentication.k8s.io"
