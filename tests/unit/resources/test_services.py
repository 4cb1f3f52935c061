from typing import Any

import pytest
from tests.unit.resources.builders import admission, causes, decode, defaulted, warnings

from knarr.resources.core.service import SERVICE, carried_over


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    return {"metadata": {"name": "s", "namespace": "ns"}, "spec": {"ports": ports, **spec}}


def test_types_that_leave_the_machine_get_a_policy() -> None:
    spec = defaulted(SERVICE, service(type="LoadBalancer"))["spec"]
    assert spec["externalTrafficPolicy"] == "Cluster"
    assert spec["allocateLoadBalancerNodePorts"] is True
    spec = defaulted(SERVICE, service(type="NodePort"))["spec"]
    assert "allocateLoadBalancerNodePorts" not in spec


PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"clusterIP": "10.96.0.300"},
        "spec.clusterIPs[0]",
        'Invalid value: "10.96.0.300": must be a valid IP address, (e.g. 10.9.8.7 or '
        "2001:db8::ffff)",
    ),
    (
        {"clusterIP": "fd00::1"},
        "spec.clusterIPs[0]",
        'Invalid value: "fd00::1": must be an IPv4 address',
    ),
    (
        {"clusterIPs": ["10.96.0.9"]},
        "spec.clusterIPs",
        'Invalid value: ["10.96.0.9"]: must be empty when `clusterIP` is not specified',
    ),
    (
        {"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.9"]},
        "spec.clusterIPs",
        'Invalid value: ["10.96.0.9"]: first value must match `clusterIP`',
    ),
    (
        {"type": "NodePort", "clusterIP": "None"},
        "spec.clusterIPs[0]",
        "Invalid value: \"None\": may not be set to 'None' for NodePort services",
    ),
    (
        {"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.96.0.9"},
        "spec.clusterIPs[0]",
        "Forbidden: may not be set when `type` is 'ExternalName'",
    ),
    (
        {"ipFamilies": ["IPv6"]},
        "spec.ipFamilies[0]",
        'Invalid value: "IPv6": not configured on this cluster',
    ),
    (
        {"ipFamilyPolicy": "RequireDualStack"},
        "spec.ipFamilyPolicy",
        'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
    ),
    (
        {"internalTrafficPolicy": "Nowhere"},
        "spec.internalTrafficPolicy",
        'Unsupported value: "Nowhere": supported values: "Cluster", "Local"',
    ),
    (
        {"externalTrafficPolicy": "Local"},
        "spec.externalTrafficPolicy",
        'Invalid value: "Local": may only be set for externally-accessible services',
    ),
    (
        {"ports": [{"port": 80, "nodePort": 30080}]},
        "spec.ports[0].nodePort",
        "Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (
        {"type": "NodePort", "allocateLoadBalancerNodePorts": True},
        "spec.allocateLoadBalancerNodePorts",
        "Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
]


PROBLEMS += [
    (
        {"sessionAffinity": "Cookie"},
        "spec.sessionAffinity",
        'Unsupported value: "Cookie": supported values: "ClientIP", "None"',
    ),
    (
        {
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90_000}},
        },
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        "Invalid value: 90000: must be greater than 0 and less than 86400",
    ),
]


@pytest.mark.parametrize(("spec", "field", "message"), PROBLEMS)
def test_what_is_wrong_is_named(spec: dict[str, Any], field: str, message: str) -> None:
    assert (field, message) in causes(SERVICE, service(**spec))


def test_a_load_balancer_that_nobody_is_is_warned_of() -> None:
    balanced = service(type="LoadBalancer", selector={"a": "b"})
    assert "no load balancer" in warnings(SERVICE, balanced)
    assert warnings(SERVICE, service(type="LoadBalancer")) == ""
    assert warnings(SERVICE, service(type="NodePort", selector={"a": "b"})) == ""
    assert warnings(SERVICE, service(selector={"a": "b"})) == ""


def test_affinity_lasts_three_hours_unless_it_says_otherwise() -> None:
    def seconds(**spec: Any) -> int | None:
        config = defaulted(SERVICE, service(**spec))["spec"].get("sessionAffinityConfig")
        return config["clientIP"]["timeoutSeconds"] if config else None

    assert seconds() is None
    assert seconds(sessionAffinity="ClientIP") == 10_800
    given = {"clientIP": {"timeoutSeconds": 5}}
    assert seconds(sessionAffinity="ClientIP", sessionAffinityConfig=given) == 5
    assert seconds(sessionAffinity="None", sessionAffinityConfig=given) is None


def spec_of(**spec: Any) -> Any:
    return decode(SERVICE, service(**spec)).spec


ADDRESS = {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"]}
NODE_PORT = [{"port": 80, "protocol": "TCP", "nodePort": 30080}]


def test_addresses_and_ports_stay_when_the_new_object_leaves_them_out() -> None:
    old = spec_of(type="NodePort", ports=NODE_PORT, **ADDRESS)
    new = carried_over(spec_of(type="NodePort"), old)
    assert (new.cluster_ip, new.cluster_ips) == ("10.96.1.1", ("10.96.1.1",))
    assert new.ports[0].node_port == 30080


def test_a_port_that_moves_to_another_number_keeps_none() -> None:
    old = spec_of(type="NodePort", ports=NODE_PORT, **ADDRESS)
    new = carried_over(spec_of(type="NodePort", ports=[{"port": 81, "protocol": "TCP"}]), old)
    assert new.ports[0].node_port == 0


def test_what_only_the_former_type_has_goes() -> None:
    old = spec_of(
        type="LoadBalancer",
        ports=NODE_PORT,
        externalTrafficPolicy="Cluster",
        allocateLoadBalancerNodePorts=True,
        ipFamilies=["IPv4"],
        **ADDRESS,
    )
    changed = {
        "type": "ClusterIP",
        "ports": NODE_PORT,
        "externalTrafficPolicy": "Cluster",
        "allocateLoadBalancerNodePorts": True,
    }
    inside = carried_over(spec_of(**changed, **ADDRESS), old)
    assert inside.ports[0].node_port == 0
    assert (inside.external_traffic_policy, inside.allocate_load_balancer_node_ports) == ("", None)
    external = carried_over(
        spec_of(type="ExternalName", externalName="a.b", ipFamilies=["IPv4"], **ADDRESS), old
    )
    assert (external.cluster_ip, external.cluster_ips, external.ip_families) == ("", (), ())


def test_a_cluster_ip_never_changes() -> None:
    given = admission(decode(SERVICE, service(type="ClusterIP", **ADDRESS)))
    changed = service(type="ClusterIP", clusterIP="10.96.1.2", clusterIPs=["10.96.1.2"])
    text = 'Invalid value: "10.96.1.2": may not change once set'
    assert causes(SERVICE, changed, given) == [("spec.clusterIPs[0]", text)]
