"""The pod network: a gateway address on this machine and one routed veth pair per sandbox.

No bridge: each pod has a /32 and a route of its own, so there is no limit of ports, and no neighbour can
answer for another. Both ends know each other's hardware address, so there is no ARP either.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from knarr.meta.errors import KnarrError
from knarr.node import firewall, forwarding
from knarr.node.firewall import FirewallRules
from knarr.node.layout import Layout
from knarr.node.rtnetlink import (
    Message,
    Port,
    RouteSocket,
    add_address,
    add_neighbour,
    add_route,
    add_shared_route,
    bar_network,
    create_holder,
    create_veth,
    delete_link,
    route_loopback,
    set_up,
    silence_ipv6,
    unbar_network,
)

POD_INTERFACE = "eth0"
_NEAR_HARDWARE = bytes.fromhex("026b6e617272")
_IPV6 = Path("/proc/sys/net/ipv6")


class NetworkState(msgspec.Struct, frozen=True):
    """What must be undone when the instance goes away."""

    network: str = ""


class NetworkTaken(KnarrError):
    """The pod network overlaps with one that is in use here."""


def link_name(prefix: str, index: int) -> str:
    """The host end of the sandbox with this address index."""
    return f"{prefix}.{index:x}"


def gateway_link(prefix: str) -> str:
    """The interface that carries the pod gateway's address."""
    return f"{prefix}-gw"


@dataclass(frozen=True, slots=True)
class Network:
    """The pod network of one instance.

    Attributes:
        layout: names and paths.
        rules: of the firewall.
        services: network of the cluster IPs; their packets stay on this machine.
    """

    layout: Layout
    rules: FirewallRules
    services: ipaddress.IPv4Network

    async def start(self) -> None:
        """Make the gateway, the firewall, and let the machine forward. Idempotent.

        Raises:
            OSError, ProgramError: the kernel or nft refused.
        """
        name = gateway_link(self.layout.link_prefix)
        with RouteSocket() as route:
            index = route.index_of(name)
            if index is None:
                _refuse_foreign(self.rules)
                self._record()
                _create_holder(route, name)
                index = route.index_of(name)
                if index is None:
                    raise OSError(f"interface {name} vanished while it was set up")
                route.send([set_up(index), add_address(index, self.rules.gateway)])
            _bar(route, self.rules.network)
            _tolerant(route, add_shared_route(index, self.services, self.rules.gateway))
        await firewall.load(self.rules)
        forwarding.turn_on(self.layout.instance)

    def _record(self) -> None:
        path = self.layout.network_state
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(NetworkState(str(self.rules.network))))

    def attach(self, index: int, address: str, namespace: Path) -> None:
        """Connect a sandbox's network namespace.

        Args:
            index: of the address, names the interface.
            address: of the pod.
            namespace: where the network namespace is mounted.

        Raises:
            OSError: the kernel refused; what was made is removed by ``detach``.
        """
        name = link_name(self.layout.link_prefix, index)
        far_hardware = b"\x02\x6b" + socket.inet_aton(address)
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with RouteSocket() as near:
                near.send(
                    [create_veth(Port(name, _NEAR_HARDWARE), Port(POD_INTERFACE, far_hardware), descriptor)]
                )  # fmt: skip
                link = _index(near, name)
                near.send(
                    [
                        *_silence(link),
                        route_loopback(link),
                        set_up(link),
                        add_route(link, address, 32, source=self.rules.gateway),
                        add_neighbour(link, address, far_hardware),
                    ]
                )
        finally:
            os.close(descriptor)
        self._configure_pod(namespace, address)

    def _configure_pod(self, namespace: Path, address: str) -> None:
        gateway = self.rules.gateway
        with RouteSocket(namespace) as far:
            loopback, link = _index(far, "lo"), _index(far, POD_INTERFACE)
            far.send(
                [
                    set_up(loopback),
                    *_silence(link),
                    set_up(link),
                    add_address(link, address),
                    add_route(link, gateway, 32),
                    add_neighbour(link, gateway, _NEAR_HARDWARE),
                    add_route(link, "", 0, gateway=gateway),
                ]
            )

    def detach(self, index: int) -> bool:
        """Remove a sandbox's interface pair; whether there was one. Idempotent."""
        with RouteSocket() as route:
            link = route.index_of(link_name(self.layout.link_prefix, index))
            if link is None:
                return False
            return _delete(route, link)


def _bar(route: RouteSocket, network: ipaddress.IPv4Network) -> None:
    _tolerant(route, bar_network(network))


def _tolerant(route: RouteSocket, message: Message) -> None:
    """Send what may have been done before."""
    try:
        route.send([message])
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise


def _unbar(network: ipaddress.IPv4Network) -> bool:
    try:
        with RouteSocket() as route:
            route.send([unbar_network(network)])
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise
        return False
    return True


def _create_holder(route: RouteSocket, name: str) -> None:
    try:
        route.send([create_holder(name, "dummy")])
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        route.send([create_holder(name, "bridge")])


def _silence(link: int) -> list[Message]:
    return [silence_ipv6(link)] if _IPV6.exists() else []


def _refuse_foreign(rules: FirewallRules) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((rules.gateway, 0))
        except OSError:
            return
    raise NetworkTaken(
        f"{rules.gateway} is on this machine already: another instance, or somebody else, uses "
        f"{rules.network}; choose another network with --pod-cidr"
    )


def _index(route: RouteSocket, name: str) -> int:
    index = route.index_of(name)
    if index is None:
        raise OSError(f"interface {name} does not exist")
    return index


def _delete(route: RouteSocket, index: int) -> bool:
    """The kernel removes interfaces by itself, a little later, once their namespace is gone."""
    try:
        route.send([delete_link(index)])
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return False
    return True


def remove_network(layout: Layout, report: Callable[[str], None]) -> None:
    """Remove every interface and rule of the instance and restore the machine's settings. Idempotent."""
    prefix = layout.link_prefix
    with RouteSocket() as route:
        for name, index in route.links().items():
            ours = name.startswith(f"{prefix}.") or name == gateway_link(prefix)
            if ours and _delete(route, index):
                report(f"interface {name}")
    for table in firewall.unload(layout.instance):
        report(f"nft table {table}")
    if layout.network_state.exists():
        before = msgspec.json.decode(layout.network_state.read_bytes(), type=NetworkState)
        if before.network and _unbar(ipaddress.IPv4Network(before.network)):
            report(f"route to {before.network}")
        layout.network_state.unlink()
    if restored := forwarding.turn_off(layout.instance):
        report(f"net.ipv4.ip_forward = {restored}")


def parse_network(text: str) -> ipaddress.IPv4Network:
    """The pod network from a setting.

    Raises:
        ValueError: it is no IPv4 network with room for a gateway and a pod.
    """
    network = ipaddress.IPv4Network(text)
    if network.num_addresses < 8:
        raise ValueError(f"--pod-cidr {text}: a network with at least 8 addresses is needed")
    return network
