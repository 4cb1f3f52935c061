"""Which endpoints stand behind each port of a Service. Pure.

Semantics are kube-proxy's: ports of Service and EndpointSlice meet by name and protocol; ready endpoints get
connections, and when there is none, those that still serve while they end.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from knarr.meta.objects import Key
from knarr.resources.core.service import (
    HEADLESS,
    Service,
    ServicePort,
    ServiceSpec,
    needs_node_ports,
)
from knarr.resources.discovery.endpointslice import Endpoint, EndpointSlice

AFFINITY_S = 10_800
_FIRST_NODE_PORT, _LAST_NODE_PORT = 30_000, 32_767
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Where a connection ends up."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class PortRoute:
    """One port of one Service.

    Attributes:
        service: whose port it is.
        name: of the port, empty when there is only one.
        protocol: ``tcp``, ``udp`` or ``sctp``.
        address, port: what clients connect to.
        node_port: the same at this machine's addresses, or 0.
        affinity_s: for so long a client comes back to the same target, or 0.
        targets: sorted; empty means that connections are refused.
    """

    service: Key
    name: str
    protocol: str
    address: str
    port: int
    node_port: int = 0
    affinity_s: int = 0
    targets: tuple[Target, ...] = ()


def routes_of(
    service: Service, slices: Iterable[EndpointSlice], fallback: Target | None = None
) -> tuple[PortRoute, ...]:
    """The routes of a Service; none for those without an address of their own.

    Args:
        service: any.
        slices: the EndpointSlices that carry its name.
        fallback: stands in as the only target when there is no slice at all.
    """
    spec = service.spec
    if spec is None or service.deleting or not _has_address(spec):
        return ()
    known = tuple(one for one in slices if one.address_type in ("", "IPv4") and not one.deleting)
    return tuple(
        PortRoute(
            service=service.key,
            name=port.name,
            protocol=_PROTOCOLS[port.protocol or "TCP"],
            address=spec.cluster_ip,
            port=port.port,
            node_port=_node_port(port, spec),
            affinity_s=_affinity_s(spec),
            targets=_targets(port, known) if known or fallback is None else (fallback,),
        )
        for port in spec.ports
        if (port.protocol or "TCP") in _PROTOCOLS
    )


def _has_address(spec: ServiceSpec) -> bool:
    if spec.type == "ExternalName" or spec.cluster_ip in ("", HEADLESS):
        return False
    return _usable(spec.cluster_ip)


def _node_port(port: ServicePort, spec: ServiceSpec) -> int:
    """Services that describe a gateway may name any port; those of this machine's programs are not taken."""
    wanted = port.node_port if needs_node_ports(spec) else 0
    return wanted if _FIRST_NODE_PORT <= wanted <= _LAST_NODE_PORT else 0


def _affinity_s(spec: ServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    wanted = config.client_ip.timeout_seconds if config and config.client_ip else None
    return wanted or AFFINITY_S


def _targets(port: ServicePort, slices: tuple[EndpointSlice, ...]) -> tuple[Target, ...]:
    found = list(_offered(port, slices))
    ready = {target for endpoint, target in found if _is_ready(endpoint)}
    return tuple(sorted(ready or {target for endpoint, target in found if _is_ending(endpoint)}))


def _offered(
    port: ServicePort, slices: tuple[EndpointSlice, ...]
) -> Iterator[tuple[Endpoint, Target]]:
    for one in slices:
        numbers = [
            offered.port
            for offered in one.ports or ()
            if (offered.name or "") == port.name
            and (offered.protocol or "TCP") == (port.protocol or "TCP")
        ]
        for endpoint in one.endpoints or ():
            for number in numbers:
                if number and endpoint.addresses and _usable(endpoint.addresses[0]):
                    yield endpoint, Target(endpoint.addresses[0], number)


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _is_ending(endpoint: Endpoint) -> bool:
    conditions = endpoint.conditions
    return conditions is not None and bool(conditions.serving) and bool(conditions.terminating)


def _usable(text: str) -> bool:
    """Whether packets may be sent on to an address: never to this machine's loopback or its neighbours'."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )
