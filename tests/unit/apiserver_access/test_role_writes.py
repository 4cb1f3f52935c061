"""Roles and bindings as objects: validation, tables, and nobody gives away what they do not have."""

import pytest
from tests.unit.apiserver.kit import MERGE, TABLE
from tests.unit.apiserver_access.kit import (
    BOB,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    RBAC,
    ROLE_BINDINGS,
    ROLES,
    binding,
    made,
    role,
    rule,
)


async def give(api, *rules, name="power"):
    await made(api, CLUSTER_ROLES, role(name, *rules))
    await made(api, CLUSTER_ROLE_BINDINGS, binding(name, name, "u:bob", kind="ClusterRole"))


WRITES = rule(
    "create update patch get delete", "roles rolebindings clusterroles clusterrolebindings",
    "rbac.authorization.k8s.io",
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "document", "text"),
    [
        (ROLES, role("r", {"verbs": ["get"]}),
         "[rules[0].apiGroups: Required value: resource rules must supply at least one api group, "
         "rules[0].resources: Required value: resource rules must supply at least one resource]"),
        (ROLES, role("r", {"apiGroups": [""], "resources": ["pods"]}),
         "rules[0].verbs: Required value: verbs must contain at least one value"),
        (ROLES, role("r", rule("get", urls="/x")),
         'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to '
         "non-resource URLs"),
        (CLUSTER_ROLES, role("r", rule("get") | {"nonResourceURLs": ["/x"]}),
         'rules[0].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources '
         "and non-resource URLs"),
        (CLUSTER_ROLES, role("r", aggregationRule={}),
         "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required "
         "if aggregationRule is non-nil"),
        (CLUSTER_ROLES, role("a%b", rule("get")),
         'metadata.name: Invalid value: "a%b": may not contain \'%\''),
        (ROLE_BINDINGS, binding("b", "r", "u:bob", kind="Roll"),
         'roleRef.kind: Unsupported value: "Roll": supported values: "Role", "ClusterRole"'),
        (CLUSTER_ROLE_BINDINGS, binding("b", "r", "u:bob"),
         'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'),
        (CLUSTER_ROLE_BINDINGS, binding("b", "r", "sa:robot", kind="ClusterRole"),
         "subjects[0].namespace: Required value"),
        (ROLE_BINDINGS, binding("b", "", "sa:UP"),
         "roleRef.name: Required value"),
        (ROLE_BINDINGS, binding("b", "r") | {"subjects": [{"kind": "Bot", "name": "x"}]},
         'subjects[0].kind: Unsupported value: "Bot": supported values: "ServiceAccount", "User", "Group"'),
        (ROLE_BINDINGS, binding("b", "r") | {"subjects": [{"kind": "User", "apiGroup": "x"}]},
         "subjects[0].name: Required value"),
    ],
)  # fmt: skip
async def test_validation(api, path, document, text):
    answer = await api.post(path, document)
    assert answer.status == 422, answer.json
    assert text in answer.json["message"]


async def test_defaults_and_names_with_colons(api):
    made_one = await made(api, ROLE_BINDINGS, binding("system:odd:name", "r", "u:bob", "sa:x"))
    group = "rbac.authorization.k8s.io"
    assert made_one["roleRef"]["apiGroup"] == group
    assert [each.get("apiGroup") for each in made_one["subjects"]] == [group, None]
    assert (await api.get(f"{ROLE_BINDINGS}/system:odd:name")).status == 200


async def test_the_role_of_a_binding_never_changes(api):
    await made(api, ROLE_BINDINGS, binding("b", "r", "u:bob"))
    answer = await api.patch(f"{ROLE_BINDINGS}/b", {"roleRef": {"name": "other"}}, MERGE)
    assert answer.status == 422
    assert answer.json["message"].endswith('"Kind":"Role","Name":"other"}: cannot change roleRef')


async def test_tables(api):
    await made(api, ROLES, role("r", rule("get")))
    await made(api, ROLE_BINDINGS, binding("b", "r", "u:bob", "g:team", "sa:ns/robot"))
    table = (await api.get(ROLES, accept=TABLE)).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Created At"]
    assert table["rows"][0]["cells"] == ["r", "2026-01-01T00:00:00Z"]
    table = (await api.get(ROLE_BINDINGS, accept=TABLE)).json
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name", "Role", "Age", "Users", "Groups", "ServiceAccounts",
    ]  # fmt: skip
    assert table["rows"][0]["cells"] == ["b", "Role/r", "0s", "bob", "team", "ns/robot"]


async def test_nobody_makes_a_role_stronger_than_themselves(api):
    await give(api, WRITES, rule("get list", "pods"))
    answer = await api.post(
        CLUSTER_ROLES, role("r", rule("list get delete", "pods secrets")), user=BOB
    )
    assert answer.status == 403
    assert answer.json["message"] == (
        'clusterroles.rbac.authorization.k8s.io "r" is forbidden: user "bob" (groups=["team" '
        '"system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["list" "get" "delete"]}'
    )
    await made(api, CLUSTER_ROLES, role("r", rule("get", "pods", names="p")), user=BOB)
    answer = await api.put(f"{CLUSTER_ROLES}/r", role("r", rule("*", "pods")), user=BOB)
    assert answer.status == 403
    stronger = {"rules": [rule("get", urls="/metrics")]}
    assert (await api.patch(f"{CLUSTER_ROLES}/r", stronger, MERGE, user=BOB)).status == 403
    # What is there already may be kept by whoever only changes who owns it.
    await api.put(f"{CLUSTER_ROLES}/r", role("r", rule("*", "*", "*")))
    owned = {"metadata": {"finalizers": ["example.com/x"]}}
    assert (await api.patch(f"{CLUSTER_ROLES}/r", owned, MERGE, user=BOB)).status == 200
    labelled = {"metadata": {"labels": {"a": "b"}}}
    assert (await api.patch(f"{CLUSTER_ROLES}/r", labelled, MERGE, user=BOB)).status == 403


async def test_the_verb_escalate_lifts_the_limit(api):
    await give(api, WRITES, rule("escalate", "roles", "rbac.authorization.k8s.io"))
    await made(api, ROLES, role("r", rule("*", "*", "*")), user=BOB)
    answer = await api.post(CLUSTER_ROLES, role("r", rule("*", "*", "*")), user=BOB)
    assert answer.status == 403


async def test_binding_needs_what_the_role_gives(api):
    await made(api, CLUSTER_ROLES, role("strong", rule("*", "secrets")))
    await made(api, CLUSTER_ROLES, role("weak", rule("get", "pods")))
    await give(api, WRITES, rule("get list", "pods"))
    mine = binding("b", "weak", "u:eve", kind="ClusterRole")
    await made(api, ROLE_BINDINGS, mine, user=BOB)
    strong = binding("c", "strong", "u:eve", kind="ClusterRole")
    for path in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
        answer = await api.post(path, strong, user=BOB)
        assert answer.status == 403
        assert "not currently held" in answer.json["message"]
    gone = await api.post(ROLE_BINDINGS, binding("d", "gone", "u:eve"), user=BOB)
    assert (gone.status, gone.json["message"]) == (
        404, 'rolebindings.rbac.authorization.k8s.io "gone" not found',
    )  # fmt: skip
    bind = rule("bind", "clusterroles", "rbac.authorization.k8s.io", names="strong")
    await give(api, bind, name="binder")
    await made(api, ROLE_BINDINGS, strong, user=BOB)


async def test_rights_in_one_namespace_do_not_count_in_another(api):
    await made(api, CLUSTER_ROLES, role("writer", WRITES))
    await made(api, CLUSTER_ROLE_BINDINGS, binding("w", "writer", "u:bob", kind="ClusterRole"))
    await made(api, ROLES, role("reader", rule("get", "pods")))
    await made(api, ROLE_BINDINGS, binding("r", "reader", "u:bob"))
    await made(api, ROLES, role("copy", rule("get", "pods")), user=BOB)
    other = f"{RBAC}/namespaces/other/roles"
    assert (await api.post(other, role("copy", rule("get", "pods")), user=BOB)).status == 403
    assert (
        await api.post(CLUSTER_ROLES, role("copy", rule("get", "pods")), user=BOB)
    ).status == 403


async def test_aggregation_is_for_those_who_may_do_everything(api):
    selector = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    await give(api, WRITES)
    answer = await api.post(CLUSTER_ROLES, role("all", aggregationRule=selector), user=BOB)
    assert answer.status == 403
    assert "must have cluster-admin privileges to use the aggregationRule" in answer.json["message"]
    await made(
        api, CLUSTER_ROLE_BINDINGS, binding("bob", "cluster-admin", "u:bob", kind="ClusterRole")
    )
    await made(api, CLUSTER_ROLES, role("all", aggregationRule=selector), user=BOB)


async def test_rules_too_many_to_compare_are_refused_quickly(api):
    await give(api, WRITES)
    many = " ".join(f"r{number}" for number in range(200))
    huge = rule(many, many, ",".join(many.split()))
    answer = await api.post(CLUSTER_ROLES, role("huge", huge), user=BOB)
    assert answer.status == 403
    assert "split the role" in answer.json["message"]


async def test_dry_runs_are_checked_too(api):
    await give(api, WRITES)
    answer = await api.post(
        CLUSTER_ROLES, role("r", rule("get", "pods")), user=BOB, query={"dryRun": "All"}
    )
    assert answer.status == 403
