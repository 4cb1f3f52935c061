"""The Service by which clients find the gateway."""

import random

import pytest

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.kits.clock import SystemClock
from knarr.kube.client import Client
from knarr.meta.objects import ObjectMeta
from knarr.node.routing.targets import Target, routes_of
from knarr.resources.catalog import KINDS
from knarr.resources.core.endpoints import ENDPOINTS
from knarr.resources.core.namespace import NAMESPACE, Namespace
from knarr.resources.core.service import SERVICE
from knarr.resources.discovery.endpointslice import ENDPOINT_SLICE
from knarr.serving.gatewayservice import (
    GATEWAY,
    ensure_gateway_service,
    gateway_service,
    gateway_status,
)
from knarr.store.store import Store


@pytest.fixture
async def client():
    async with Store(None) as store:
        handler = Handler(store, KINDS, SystemClock(), random.Random(1))
        made = Client(InProcessTransport(handler, ADMIN))
        await made.create(NAMESPACE, Namespace(metadata=ObjectMeta(name=GATEWAY.namespace)))
        yield made


async def ensure(client, address="127.0.0.1", port=8080, internal="10.232.0.1"):
    await ensure_gateway_service(client, external=(address, port), internal_address=internal)


async def test_it_says_how_requests_get_in(client):
    await ensure(client)
    stored = await client.get(SERVICE, GATEWAY)
    assert [(port.port, port.node_port) for port in stored.spec.ports] == [(80, 8080)]
    assert [one.ip for one in stored.status.load_balancer.ingress] == ["127.0.0.1"]
    (subset,) = (await client.get(ENDPOINTS, GATEWAY)).subsets
    assert [one.ip for one in subset.addresses] == ["10.232.0.1"]
    assert [one.port for one in subset.ports] == [80]
    slice_ = await client.get(ENDPOINT_SLICE, GATEWAY)
    (route,) = routes_of(stored, [slice_])
    assert (route.port, route.node_port, route.targets) == (80, 0, (Target("10.232.0.1", 80),))


async def test_a_second_start_writes_nothing_and_one_with_other_ports_does(client):
    await ensure(client)
    first = await client.get(SERVICE, GATEWAY)
    await ensure(client)
    assert (await client.get(SERVICE, GATEWAY)) == first
    await ensure(client, port=80, internal="10.9.0.1")
    again = await client.get(SERVICE, GATEWAY)
    assert [port.node_port for port in again.spec.ports] == [80]
    assert again.spec.cluster_ip == first.spec.cluster_ip
    (subset,) = (await client.get(ENDPOINTS, GATEWAY)).subsets
    assert [one.ip for one in subset.addresses] == ["10.9.0.1"]
    slice_ = await client.get(ENDPOINT_SLICE, GATEWAY)
    assert slice_.endpoints[0].addresses == ("10.9.0.1",)


def test_a_port_that_the_node_would_route_is_not_named():
    assert gateway_service(30_080).spec.ports[0].node_port == 0
    assert gateway_service(29_999).spec.ports[0].node_port == 29_999


def test_every_address_is_shown_as_loopback():
    assert gateway_status("0.0.0.0").ingress[0].ip == "127.0.0.1"
    assert gateway_status("192.0.2.7").ingress[0].ip == "192.0.2.7"
