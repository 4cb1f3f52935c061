"""The default roles: made at the first start, kept complete afterwards."""

from msgspec.structs import replace
from tests.unit.apiserver.kit import MERGE
from tests.unit.apiserver_access.kit import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, rule

from knarr.apiserver.authorization.bootstrap import ensure_default_access
from knarr.apiserver.authorization.defaults import CLUSTER_ROLES as DEFAULTS
from knarr.apiserver.authorization.reconciling import merge_binding, merge_role
from knarr.apiserver.kubernetesservice import ensure_kubernetes_service
from knarr.resources.rbac.binding import ClusterRoleBinding, RoleRef, Subject
from knarr.resources.rbac.role import PolicyRule
from knarr.resources.rbac.rules import aggregated_rules


async def test_a_second_start_writes_nothing(api):
    before = api.store.assigned_rv
    await ensure_default_access(api.client)
    assert api.store.assigned_rv == before


async def test_aggregated_roles_are_complete_from_the_beginning(api):
    stored = {
        item["metadata"]["name"]: item for item in (await api.get(CLUSTER_ROLES)).json["items"]
    }
    assert {"cluster-admin", "admin", "edit", "view", "system:basic-user"} <= set(stored)
    assert all(stored[name]["rules"] for name in ("admin", "edit", "view"))
    typed = [replace(each, rules=tuple(_rules(stored[each.metadata.name]))) for each in DEFAULTS]
    for each in typed:
        assert set(aggregated_rules(each, typed)) == set(each.rules), each.metadata.name
    knative = [
        found for found in stored["edit"]["rules"] if "serving.knative.dev" in found["apiGroups"]
    ]
    assert {verb for found in knative for verb in found["verbs"]} >= {"create", "get", "delete"}


def _rules(document):
    for found in document["rules"]:
        yield PolicyRule(
            verbs=tuple(found["verbs"]),
            api_groups=tuple(found.get("apiGroups", ())),
            resources=tuple(found.get("resources", ())),
            resource_names=tuple(found.get("resourceNames", ())),
            non_resource_urls=tuple(found.get("nonResourceURLs", ())),
        )


async def test_what_was_removed_comes_back_and_what_was_added_stays(api):
    path = f"{CLUSTER_ROLES}/system:basic-user"
    mine = rule("get", "nodes")
    await api.patch(path, {"rules": [mine], "metadata": {"labels": None}}, MERGE)
    await api.delete(f"{CLUSTER_ROLES}/system:discovery")
    await api.delete(f"{CLUSTER_ROLE_BINDINGS}/cluster-admin")
    await ensure_default_access(api.client)
    stored = (await api.get(path)).json
    assert stored["rules"][0] == mine
    assert len(stored["rules"]) == 4
    assert stored["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults"}
    assert (await api.get(f"{CLUSTER_ROLES}/system:discovery")).status == 200
    assert (await api.get(f"{CLUSTER_ROLE_BINDINGS}/cluster-admin")).status == 200


async def test_autoupdate_false_is_respected(api):
    path = f"{CLUSTER_ROLES}/system:basic-user"
    off = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
    await api.patch(
        path, {"rules": [rule("get", "nodes")], "metadata": {"annotations": off}}, MERGE
    )
    await ensure_default_access(api.client)
    assert len((await api.get(path)).json["rules"]) == 1


async def test_a_default_binding_to_another_role_is_replaced(api):
    path = f"{CLUSTER_ROLE_BINDINGS}/system:discovery"
    document = (await api.get(path)).json
    await api.delete(path)
    document["roleRef"]["name"] = "view"
    document["metadata"] = {"name": "system:discovery"}
    await api.post(CLUSTER_ROLE_BINDINGS, document)
    await ensure_default_access(api.client)
    assert (await api.get(path)).json["roleRef"]["name"] == "system:discovery"


def test_merging_is_idempotent():
    for each in DEFAULTS:
        assert merge_role(each, each) is not None
        merged = merge_role(replace(each, rules=()), each)
        assert merge_role(merged, each) == merged
    one = ClusterRoleBinding(role_ref=RoleRef(name="a"), subjects=(Subject(name="x"),))
    two = ClusterRoleBinding(role_ref=RoleRef(name="a"), subjects=(Subject(name="y"),))
    merged = merge_binding(one, two)
    assert [subject.name for subject in merged.subjects] == ["x", "y"]
    assert merge_binding(merged, two) == merged
    assert merge_binding(one, replace(two, role_ref=RoleRef(name="b"))) is None


async def test_the_service_kubernetes_leads_to_this_server(api):
    for endpoint in (None, ("10.9.0.1", 6443), ("10.9.0.1", 6443), ("10.9.0.2", 7443)):
        await ensure_kubernetes_service(api.client, endpoint)
    service = (await api.get("/api/v1/namespaces/default/services/kubernetes")).json
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert service["spec"]["ports"] == [
        {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 7443}
    ]
    endpoints = (await api.get("/api/v1/namespaces/default/endpoints/kubernetes")).json
    assert endpoints["subsets"] == [
        {
            "addresses": [{"ip": "10.9.0.2"}],
            "ports": [{"name": "https", "port": 7443, "protocol": "TCP"}],
        }
    ]
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    (found,) = (await api.get(slices)).json["items"]
    assert found["metadata"]["labels"] == {"kubernetes.io/service-name": "kubernetes"}
    assert found["endpoints"][0]["addresses"] == ["10.9.0.2"]
    before = api.store.assigned_rv
    await ensure_kubernetes_service(api.client, ("10.9.0.2", 7443))
    assert api.store.assigned_rv == before
