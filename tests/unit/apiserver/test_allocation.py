"""Cluster IPs and node ports, through the API."""

import asyncio
import random

import pytest
from tests.unit.apiserver.kit import Api

from knarr.apiserver.allocation import ServiceAllocator
from knarr.apiserver.handler import Handler
from knarr.kits.clock import ManualClock
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

PATH = "/api/v1/namespaces/default/services"
PORTS = [{"port": 80}]


def service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": PORTS, **spec}}


async def created(api, name, **spec):
    answer = await api.post(PATH, service(name, **spec))
    assert answer.status == 201, answer.json
    return answer.json["spec"]


def in_cluster_range(address):
    return address.startswith("10.96.") and address not in ("10.96.0.0", "10.96.0.1")


async def test_the_answer_to_the_creation_has_the_address(api):
    spec = await created(api, "a", selector={"app": "a"})
    assert in_cluster_range(spec.pop("clusterIP"))
    assert len(spec.pop("clusterIPs")) == 1
    assert spec == {
        "type": "ClusterIP",
        "selector": {"app": "a"},
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }


async def test_headless_and_external_services_get_none(api):
    assert (await created(api, "a", clusterIP="None"))["clusterIP"] == "None"
    assert "clusterIP" not in await created(api, "b", type="ExternalName", externalName="x.y")


async def test_many_at_once_get_different_addresses(api):
    specs = await asyncio.gather(*(created(api, f"s{number}") for number in range(200)))
    assert len({spec["clusterIP"] for spec in specs}) == 200


async def test_an_address_that_is_asked_for(api):
    assert (await created(api, "a", clusterIP="10.96.0.10"))["clusterIPs"] == ["10.96.0.10"]
    answer = await api.post(PATH, service("b", clusterIP="10.96.0.10"))
    assert answer.status == 422
    assert answer.json["message"] == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP '
        "10.96.0.10: provided IP is already allocated"
    )
    again = await api.post(PATH, service("b", clusterIP="10.96.0.10"))
    assert again.status == 422
    answer = await api.post(PATH, service("b", clusterIP="10.97.0.10"))
    assert (
        "not in the valid range. The range of valid IPs is 10.96.0.0/16" in answer.json["message"]
    )


async def test_the_first_address_belongs_to_the_kubernetes_service(api):
    answer = await api.post(PATH, service("other", clusterIP="10.96.0.1"))
    assert answer.status == 422
    assert (await created(api, "kubernetes"))["clusterIP"] == "10.96.0.1"


async def test_an_address_is_free_again_when_its_service_is_gone(api):
    await created(api, "a", clusterIP="10.96.0.10")
    await api.delete(f"{PATH}/a")
    assert (await created(api, "b", clusterIP="10.96.0.10"))["clusterIP"] == "10.96.0.10"


async def test_a_dry_run_takes_nothing(api):
    answer = await api.post(PATH, service("a", clusterIP="10.96.0.10"), query={"dryRun": "All"})
    assert answer.json["spec"]["clusterIP"] == "10.96.0.10"
    await created(api, "b", clusterIP="10.96.0.10")


async def test_a_refused_service_takes_nothing(api):
    answer = await api.post(PATH, service("a", clusterIP="10.96.0.10", sessionAffinity="x"))
    assert answer.status == 422
    await created(api, "b", clusterIP="10.96.0.10")


async def test_replacing_keeps_the_address(api):
    spec = await created(api, "a")
    answer = await api.put(f"{PATH}/a", service("a", selector={"x": "y"}))
    assert answer.status == 200
    assert answer.json["spec"]["clusterIP"] == spec["clusterIP"]
    assert answer.json["spec"]["clusterIPs"] == spec["clusterIPs"]
    again = await api.put(f"{PATH}/a", service("a", selector={"x": "y"}))
    assert again.json["metadata"]["resourceVersion"] == answer.json["metadata"]["resourceVersion"]


async def test_changing_the_type_gives_and_takes_the_address(api):
    await created(api, "a", clusterIP="10.96.0.10")
    change = {"spec": {"type": "ExternalName", "externalName": "x.y"}}
    answer = await api.patch(f"{PATH}/a", change)
    assert answer.status == 200, answer.json
    assert "clusterIP" not in answer.json["spec"]
    assert "clusterIPs" not in answer.json["spec"]
    await created(api, "b", clusterIP="10.96.0.10")
    back = {"spec": {"type": "ClusterIP", "externalName": None}}
    answer = await api.patch(f"{PATH}/a", back)
    assert in_cluster_range(answer.json["spec"]["clusterIP"])
    assert answer.json["spec"]["clusterIP"] != "10.96.0.10"


async def test_a_status_or_label_change_touches_no_address(api):
    spec = await created(api, "a")
    answer = await api.patch(f"{PATH}/a", {"metadata": {"labels": {"x": "y"}}})
    assert answer.json["spec"] == spec


async def test_node_ports_are_given_out_to_what_has_pods(api):
    answer = await api.post(PATH, service("a", type="NodePort", selector={"x": "y"}))
    assert 30_000 <= answer.json["spec"]["ports"][0]["nodePort"] <= 32_767
    assert answer.warnings == []
    assert "nodePort" not in (await created(api, "b", type="NodePort"))["ports"][0]
    spec = await created(
        api, "c", type="LoadBalancer", selector={"x": "y"}, allocateLoadBalancerNodePorts=False
    )
    assert "nodePort" not in spec["ports"][0]


async def test_a_gateway_says_where_it_listens(api):
    ports = [{"name": "http2", "port": 80, "nodePort": 8080}]
    spec = await created(api, "gateway", type="NodePort", ports=ports)
    assert spec["ports"][0]["nodePort"] == 8080
    selecting = service("other", type="NodePort", ports=ports, selector={"x": "y"})
    message = (await api.post(PATH, selecting)).json["message"]
    assert "The range of valid ports is 30000-32767" in message


async def test_a_node_port_has_one_holder(api):
    ports = [
        {"name": "t", "port": 80, "nodePort": 30080},
        {"name": "u", "port": 80, "nodePort": 30080, "protocol": "UDP"},
    ]
    await created(api, "a", type="NodePort", ports=ports)
    answer = await api.post(PATH, service("b", type="NodePort", ports=ports[:1]))
    text = "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    assert answer.json["message"].endswith(text)
    twice = [
        {"name": "t", "port": 80, "nodePort": 30081},
        {"name": "u", "port": 81, "nodePort": 30081},
    ]
    answer = await api.post(PATH, service("b", type="NodePort", ports=twice))
    assert "spec.ports[1].nodePort" in answer.json["message"]


async def test_node_ports_go_with_the_type(api):
    spec = await created(api, "a", type="NodePort", selector={"x": "y"})
    answer = await api.patch(f"{PATH}/a", {"spec": {"type": "ClusterIP"}})
    assert answer.status == 200, answer.json
    assert "nodePort" not in answer.json["spec"]["ports"][0]
    assert answer.json["spec"]["clusterIP"] == spec["clusterIP"]


async def test_a_full_range_says_so():
    async with Store(None) as store:
        handler = Handler(
            store, KINDS, ManualClock(), random.Random(1), service_cidr="10.96.0.0/28"
        )
        await fill(Api(handler, store, ManualClock()))


async def fill(api):
    await api.post("/api/v1/namespaces", {"metadata": {"name": "default"}})
    addresses = {(await created(api, f"s{number}"))["clusterIP"] for number in range(13)}
    assert addresses == {f"10.96.0.{number}" for number in range(2, 15)}
    answer = await api.post(PATH, service("late"))
    assert (answer.status, answer.json["message"]) == (
        503,
        "failed to allocate a serviceIP: range is full",
    )
    await api.delete(f"{PATH}/s3")
    assert (await created(api, "late"))["clusterIP"] in addresses


async def test_addresses_outlive_a_restart(tmp_path):
    taken = set()
    for start in range(3):
        async with Store(tmp_path / "knarr.db") as store:
            handler = Handler(
                store, KINDS, ManualClock(), random.Random(7), service_cidr="10.96.0.0/28"
            )
            api = Api(handler, store, ManualClock())
            await api.post("/api/v1/namespaces", {"metadata": {"name": "default"}})
            for number in range(4):
                address = (await created(api, f"s{start}-{number}"))["clusterIP"]
                assert address not in taken
                taken.add(address)


def test_a_network_must_have_room():
    with pytest.raises(ValueError, match="too small"):
        ServiceAllocator(Store(None), random.Random(), cidr="10.96.0.0/29")
