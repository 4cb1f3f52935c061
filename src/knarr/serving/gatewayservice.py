"""The Service ``knarr-gateway`` in ``knative-serving``: where clients look up how requests get in.

Inside, its cluster IP leads to the gateway's cluster-local listener. Outside, its status names the address of
the external listener, and the port 80 has that listener's port as its node port, so that whoever translates
ports as for a cloud's balancer arrives. Nothing is routed for that node port: a Service without a selector
may describe a port that a program of the machine holds.
"""

import ipaddress
from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from knarr.kube.client import Client
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.endpoints import (
    ENDPOINTS,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
)
from knarr.resources.core.service import (
    SERVICE,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from knarr.resources.discovery.endpointslice import (
    ENDPOINT_SLICE,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    SlicePort,
)

GATEWAY = Key("knative-serving", "knarr-gateway")
_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "app.kubernetes.io/name": "knative-serving",
        "app.kubernetes.io/component": "gateway",
        "networking.knative.dev/ingress-provider": "knarr",
    }
)
_HTTP = "http2"
_PORT = 80
_LOOPBACK = "127.0.0.1"
# Of these the node agent would take over the listener's port.
_ROUTED_NODE_PORTS = range(30_000, 32_768)


def gateway_service(external_port: int) -> Service:
    """The Service as it should be.

    Args:
        external_port: of the external listener.
    """
    node_port = 0 if external_port in _ROUTED_NODE_PORTS else external_port
    port = ServicePort(
        name=_HTTP, port=_PORT, protocol="TCP", target_port=_PORT, node_port=node_port
    )
    spec = ServiceSpec(type="LoadBalancer", ports=(port,), allocate_load_balancer_node_ports=False)
    return Service(metadata=_metadata(), spec=spec)


def gateway_status(external_address: str) -> LoadBalancerStatus:
    """Where the external listener is reached; loopback stands for every address of the machine."""
    address = ipaddress.ip_address(external_address)
    ip = _LOOPBACK if address.is_unspecified else external_address
    return LoadBalancerStatus(ingress=(LoadBalancerIngress(ip=ip, ip_mode="Proxy"),))


def gateway_endpoints(internal_address: str) -> Endpoints:
    """The cluster-local listener as the Service's only endpoint."""
    subset = EndpointSubset(
        addresses=(EndpointAddress(ip=internal_address),),
        ports=(EndpointPort(name=_HTTP, port=_PORT, protocol="TCP"),),
    )
    # The slice is made here too: a mirror of these Endpoints would be a second one.
    labels = {**_LABELS, "endpointslice.kubernetes.io/skip-mirror": "true"}
    return Endpoints(metadata=_metadata(labels), subsets=(subset,))


def gateway_slice(internal_address: str) -> EndpointSlice:
    """The same for those who route."""
    return EndpointSlice(
        metadata=_metadata({**_LABELS, SERVICE_NAME_LABEL: GATEWAY.name}),
        address_type="IPv4",
        endpoints=(
            Endpoint(addresses=(internal_address,), conditions=EndpointConditions(ready=True)),
        ),
        ports=(SlicePort(name=_HTTP, protocol="TCP", port=_PORT),),
    )


async def ensure_gateway_service(
    client: Client, *, external: tuple[str, int], internal_address: str
) -> None:
    """Make the Service, its Endpoints and its status say how the gateway is reached; writes what differs.

    Args:
        client: of the administrator.
        external: address and port of the external listener.
        internal_address: of the cluster-local listener, which has port 80.

    Raises:
        StatusError: the API refused.
    """
    stored = await _ensure_service(client, gateway_service(external[1]))
    status = gateway_status(external[0])
    if stored.status is None or stored.status.load_balancer != status:
        await client.update_status(
            SERVICE, replace(stored, status=ServiceStatus(load_balancer=status))
        )
    await _ensure_endpoints(client, gateway_endpoints(internal_address))
    await _ensure_slice(client, gateway_slice(internal_address))


async def _ensure_service(client: Client, desired: Service) -> Service:
    wanted = desired.spec
    try:
        stored = await client.get(SERVICE, GATEWAY)
    except NotFound:
        return await client.create(SERVICE, desired)
    spec = stored.spec
    if wanted is None or spec is None or (spec.type, spec.ports) == (wanted.type, wanted.ports):
        return stored
    changed = replace(
        spec,
        type=wanted.type,
        ports=wanted.ports,
        allocate_load_balancer_node_ports=wanted.allocate_load_balancer_node_ports,
    )
    return await client.update(SERVICE, replace(stored, spec=changed))


async def _ensure_endpoints(client: Client, desired: Endpoints) -> None:
    try:
        stored = await client.get(ENDPOINTS, GATEWAY)
    except NotFound:
        await client.create(ENDPOINTS, desired)
        return
    if stored.subsets != desired.subsets:
        await client.update(ENDPOINTS, replace(stored, subsets=desired.subsets))


async def _ensure_slice(client: Client, desired: EndpointSlice) -> None:
    try:
        stored = await client.get(ENDPOINT_SLICE, GATEWAY)
    except NotFound:
        await client.create(ENDPOINT_SLICE, desired)
        return
    if (stored.endpoints, stored.ports) != (desired.endpoints, desired.ports):
        changed = replace(stored, endpoints=desired.endpoints, ports=desired.ports)
        await client.update(ENDPOINT_SLICE, changed)


def _metadata(labels: Mapping[str, str] = _LABELS) -> ObjectMeta:
    return ObjectMeta(name=GATEWAY.name, namespace=GATEWAY.namespace, labels=dict(labels))
