"""Cluster IPs and node ports of core Services.

They are part of the answer to the request that creates the Service: clients (and Kubernetes' own
defaulting) read them there. The first address of the network belongs to the Service ``kubernetes`` in
``default``: whoever makes the API reachable from Pods creates that Service, with the Endpoints of the API
server, and gets that address; nobody else does.

Services without a selector describe what listens already (a gateway, a machine elsewhere): node ports are
stored as they were asked for and none is given out.
"""

import ipaddress
import random
from typing import Any

from msgspec.structs import replace

from knarr.apiserver.allocation.claims import Claims, address_number
from knarr.apiserver.allocation.ranges import NumberRange
from knarr.meta.errors import Unavailable
from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Key
from knarr.resources.core.service import (
    HEADLESS,
    Service,
    ServicePort,
    ServiceSpec,
    carried_over,
    needs_address,
    needs_node_ports,
)
from knarr.resources.fielderrors import invalid
from knarr.store.store import Store

DEFAULT_SERVICE_CIDR = "10.96.0.0/16"
NODE_PORTS = NumberRange(30_000, 32_767, static=86)
KUBERNETES_SERVICE = Key("default", "kubernetes")
_TAKEN = "provided port is already allocated"


class ServiceAllocator:
    """Completes Services as they are admitted.

    Args:
        store: the Services that exist; read at the first need, so nothing is kept across restarts.
        rng: which free number is taken.
        cidr: IPv4 network of the cluster IPs, /28 or larger.

    Raises:
        ValueError: ``cidr`` is no such network.
    """

    def __init__(
        self, store: Store, rng: random.Random, *, cidr: str = DEFAULT_SERVICE_CIDR
    ) -> None:
        network = ipaddress.IPv4Network(cidr)
        if network.prefixlen > 28:
            raise ValueError(f"{cidr} is too small for the addresses of Services")
        first, last = int(network.network_address) + 1, int(network.broadcast_address) - 1
        self._network = network
        self._kubernetes = first
        self._addresses = NumberRange(first, last, static=min(256, network.num_addresses // 16))
        self._claims = Claims(store)
        self._rng = rng

    def allocate(self, subject: Any, old: Any | None = None) -> tuple[Any, tuple[FieldError, ...]]:
        """The Service with its addresses and ports, and what is wrong with those it asks for.

        Args:
            subject: a Service after defaulting, with its name and namespace.
            old: the stored one on an update; what it has stays.

        Raises:
            Unavailable: the range is used up.
        """
        assert isinstance(subject, Service)
        if subject.spec is None:
            return subject, ()
        previous = old.spec if isinstance(old, Service) else None
        spec = carried_over(subject.spec, previous)
        spec, errors = self._with_address(subject.key, spec, previous)
        spec, more = self._with_node_ports(subject.key, spec)
        if not errors and not more:
            # What somebody else has must stay under the other's name.
            self._claims.claim(
                subject.key,
                address_number(spec.cluster_ip),
                [port.node_port for port in spec.ports if port.node_port],
            )
        return replace(subject, spec=spec), (*errors, *more)

    # Cluster IPs

    def _with_address(
        self, key: Key, spec: ServiceSpec, previous: ServiceSpec | None
    ) -> tuple[ServiceSpec, list[FieldError]]:
        if not needs_address(spec) or spec.cluster_ip == HEADLESS:
            return spec, []
        if spec.cluster_ip:
            kept = previous is not None and previous.cluster_ip == spec.cluster_ip
            return spec, [] if kept else self._address_errors(key, spec.cluster_ip)
        if spec.cluster_ips:
            return spec, []  # validation says that clusterIP is missing
        number = self._pick_address(key)
        address = str(ipaddress.IPv4Address(number))
        return replace(spec, cluster_ip=address, cluster_ips=(address,)), []

    def _pick_address(self, key: Key) -> int:
        if key == KUBERNETES_SERVICE and not self._address_taken(key, self._kubernetes):
            return self._kubernetes
        number = self._addresses.pick(lambda each: self._address_taken(key, each), self._rng)
        if number is None:
            raise Unavailable("failed to allocate a serviceIP: range is full")
        return number

    def _address_taken(self, key: Key, number: int) -> bool:
        if number == self._kubernetes and key != KUBERNETES_SERVICE:
            return True
        return self._claims.address_holder(number) not in (None, key)

    def _address_errors(self, key: Key, address: str) -> list[FieldError]:
        number = address_number(address)
        if number is None:
            return []  # validation says what an address looks like
        if number not in self._addresses:
            detail = (
                f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid "
                f"range. The range of valid IPs is {self._network}"
            )
            return [invalid("spec.clusterIPs", [address], detail)]
        if self._address_taken(key, number):
            detail = f"failed to allocate IP {address}: provided IP is already allocated"
            return [invalid("spec.clusterIPs", [address], detail)]
        return []

    # Node ports

    def _with_node_ports(self, key: Key, spec: ServiceSpec) -> tuple[ServiceSpec, list[FieldError]]:
        if not needs_node_ports(spec):
            return spec, []
        errors: list[FieldError] = []
        asked: dict[int, ServicePort] = {}
        for index, port in enumerate(spec.ports):
            if not port.node_port:
                continue
            twin = asked.setdefault(port.node_port, port)
            path = f"spec.ports[{index}].nodePort"
            if twin is not port and (twin.port, twin.protocol == port.protocol) != (
                port.port, False
            ):  # fmt: skip
                errors.append(invalid(path, port.node_port, _TAKEN))
            else:
                errors += self._node_port_errors(key, spec, path, port.node_port)
        if not spec.selector or spec.allocate_load_balancer_node_ports is False:
            return spec, errors
        own = set(asked)
        ports = tuple(
            port if port.node_port else replace(port, node_port=self._pick_node_port(key, own))
            for port in spec.ports
        )
        return replace(spec, ports=ports), errors

    def _pick_node_port(self, key: Key, own: set[int]) -> int:
        number = NODE_PORTS.pick(
            lambda each: each in own or self._claims.port_holder(each) not in (None, key),
            self._rng,
        )
        if number is None:
            raise Unavailable("failed to allocate a nodePort: range is full")
        own.add(number)
        return number

    def _node_port_errors(
        self, key: Key, spec: ServiceSpec, path: str, number: int
    ) -> list[FieldError]:
        if number not in NODE_PORTS and spec.selector:
            detail = (
                "provided port is not in the valid range. The range of valid ports is "
                f"{NODE_PORTS.first}-{NODE_PORTS.last}"
            )
            return [invalid(path, number, detail)]
        if self._claims.port_holder(number) not in (None, key):
            return [invalid(path, number, _TAKEN)]
        return []
