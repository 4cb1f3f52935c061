"""Roles and bindings in short."""

from knarr.resources.kind import UserInfo

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/default/roles"
ROLE_BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
CLUSTER_ROLES = f"{RBAC}/clusterroles"
CLUSTER_ROLE_BINDINGS = f"{RBAC}/clusterrolebindings"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
BOB = UserInfo("bob", ("team", "system:authenticated"))


def rule(verbs="get", resources="pods", groups="", names="", urls=""):
    found = {"verbs": verbs.split()}
    if urls:
        return found | {"nonResourceURLs": urls.split()}
    found |= {"apiGroups": groups.split(",") if groups else [""], "resources": resources.split()}
    return found | ({"resourceNames": names.split()} if names else {})


def role(name, *rules, **more):
    return {"metadata": {"name": name}, "rules": list(rules), **more}


def binding(name, role_name, *subjects, kind="Role"):
    return {
        "metadata": {"name": name},
        "roleRef": {"kind": kind, "name": role_name},
        "subjects": [subject(each) for each in subjects],
    }


def subject(text):
    kind, _, name = text.partition(":")
    if kind == "sa":
        namespace, _, name = name.rpartition("/")
        found = {"kind": "ServiceAccount", "name": name}
        return found | ({"namespace": namespace} if namespace else {})
    return {"kind": {"u": "User", "g": "Group"}[kind], "name": name}


async def made(api, path, document, **more):
    answer = await api.post(path, document, **more)
    assert answer.status == 201, answer.json
    return answer.json
