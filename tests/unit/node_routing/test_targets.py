"""From Services and EndpointSlices to routes."""

import msgspec
import pytest

from knarr.node.routing.targets import PortRoute, Target, routes_of
from knarr.resources.core.service import Service
from knarr.resources.discovery.endpointslice import EndpointSlice


def service(**spec) -> Service:
    base = {
        "clusterIP": "10.96.0.9",
        "type": "ClusterIP",
        "ports": [{"port": 80, "targetPort": "web"}],
    }
    return msgspec.convert(
        {"metadata": {"name": "web", "namespace": "ns"}, "spec": {**base, **spec}}, Service
    )


def endpoint(address: str, **conditions) -> dict:
    return {"addresses": [address], "conditions": conditions or {"ready": True}}


def piece(
    *endpoints: dict, ports=({"name": "", "port": 8080, "protocol": "TCP"},)
) -> EndpointSlice:
    return msgspec.convert(
        {
            "metadata": {"name": "web-x", "namespace": "ns"},
            "addressType": "IPv4", "endpoints": list(endpoints), "ports": list(ports),
        },
        EndpointSlice,
    )  # fmt: skip


def targets(found: tuple[PortRoute, ...]) -> list[tuple[str, int]]:
    return [(one.address, one.port) for route in found for one in route.targets]


def test_ready_endpoints_of_every_slice_are_the_targets():
    found = routes_of(
        service(),
        [
            piece(endpoint("10.1.0.2"), endpoint("10.1.0.1", ready=False)),
            piece(endpoint("10.1.0.3", ready=None), {"addresses": ["10.1.0.2"]}),
        ],
    )
    assert targets(found) == [("10.1.0.2", 8080), ("10.1.0.3", 8080)]
    assert (found[0].protocol, found[0].port, found[0].node_port) == ("tcp", 80, 0)


def test_pods_that_end_serve_while_there_is_nobody_else():
    ending = endpoint("10.1.0.5", ready=False, serving=True, terminating=True)
    assert targets(routes_of(service(), [piece(ending)])) == [("10.1.0.5", 8080)]
    assert targets(routes_of(service(), [piece(ending, endpoint("10.1.0.6"))])) == [
        ("10.1.0.6", 8080)
    ]
    unready = endpoint("10.1.0.5", ready=False, serving=False, terminating=True)
    assert targets(routes_of(service(), [piece(unready)])) == []


def test_ports_meet_by_name_and_protocol():
    ports = [
        {"name": "a", "port": 1, "protocol": "TCP"},
        {"name": "b", "port": 2, "protocol": "TCP"},
        {"name": "d", "protocol": "TCP"},
    ]
    found = routes_of(
        service(
            ports=[
                {"name": "b", "port": 20},
                {"name": "a", "port": 10, "protocol": "UDP"},
                {"name": "c", "port": 30},
                {"name": "d", "port": 40},
            ]
        ),
        [piece(endpoint("10.1.0.2"), ports=ports)],
    )
    assert [(one.port, one.protocol, len(one.targets)) for one in found] == [
        (20, "tcp", 1), (10, "udp", 0), (30, "tcp", 0), (40, "tcp", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"clusterIP": ""},
        {"type": "ExternalName", "externalName": "x.y"},
        {"clusterIP": "127.0.0.1"},
        {"clusterIP": "1.2.3.4 } ; flush ruleset"},
    ],
)
def test_services_without_an_address_have_no_route(spec):
    assert routes_of(service(**spec), [piece(endpoint("10.1.0.2"))]) == ()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "x"],
)
def test_nothing_is_sent_to_addresses_of_this_machine_alone(address):
    assert targets(routes_of(service(), [piece(endpoint(address))])) == []


def test_node_ports_affinity_and_the_fallback():
    ports = [{"port": 80, "nodePort": 30001}]
    found = routes_of(
        service(type="NodePort", sessionAffinity="ClientIP", ports=ports),
        [],
        Target("10.232.0.1", 6443),
    )
    assert (found[0].node_port, found[0].affinity_s, targets(found)) == (
        30001, 10800, [("10.232.0.1", 6443)],
    )  # fmt: skip
    spec = {
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}},
    }
    (kept,) = routes_of(service(**spec, ports=ports), [])
    assert (kept.affinity_s, kept.node_port, kept.targets) == (7, 0, ())
    assert targets(routes_of(service(), [piece()], Target("10.232.0.1", 6443))) == []


def test_ports_of_this_machines_programs_are_not_taken():
    (found,) = routes_of(service(type="NodePort", ports=[{"port": 80, "nodePort": 22}]), [])
    assert found.node_port == 0
