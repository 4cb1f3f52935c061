"""The few rtnetlink messages that the node agent sends, encoded by hand.

A general library costs 16 MiB of memory and 0.6 s of start-up in this process, and its requests travel one
at a time; here a whole interface is set up by one write. Sources: rtnetlink(7), netlink(7), veth(4),
``linux/if_link.h``.
"""

import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from knarr.node import netlink, syscalls
from knarr.node.netlink import attribute, attributes, number, text

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWNEIGH = 16, 17, 18, 20, 28
_NEWROUTE, _DELROUTE, _RTN_UNREACHABLE = 24, 25, 7
_EXCL, _CREATE, _APPEND = 0x200, 0x400, 0x800
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = (
    1,
    3,
    4,
    18,
    26,
    28,
)
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
_INET_CONF, _ROUTE_LOCALNET = 1, 26
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_RT_TABLE_MAIN, _RTPROT_STATIC, _SCOPE_UNIVERSE, _SCOPE_LINK, _RTN_UNICAST = 254, 4, 0, 253, 1
_IFF_UP, _ONLINK = 1, 4
_LINK = struct.Struct("=BxHiII")


@dataclass(frozen=True, slots=True)
class Message:
    """One request; ``what`` names it in errors."""

    what: str
    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a veth pair: interface name and hardware address (six bytes)."""

    name: str
    hardware: bytes


def create_veth(near: Port, far: Port, far_namespace: int, mtu: int = 1500) -> Message:
    """A veth pair: ``near`` here and ``far`` in the namespace of a descriptor. the caller sets both up."""

    def end(port: Port) -> bytes:
        return (
            _LINK.pack(0, 0, 0, 0, 0)
            + text(_IFLA_IFNAME, port.name)
            + attribute(_IFLA_ADDRESS, port.hardware)
            + number(_IFLA_MTU, mtu)
        )

    peer = attribute(_VETH_PEER, end(far) + number(_IFLA_NET_NS_FD, far_namespace))
    information = text(_INFO_KIND, "veth") + attribute(_INFO_DATA, peer)
    body = end(near) + attribute(_IFLA_LINKINFO, information)
    return Message(f"create interface {near.name}", _NEWLINK, _CREATE | _EXCL, body)


def create_holder(name: str, kind: str) -> Message:
    """An interface that leads nowhere and can carry an address: ``dummy`` or an empty ``bridge``."""
    body = (
        _LINK.pack(0, 0, 0, 0, 0)
        + text(_IFLA_IFNAME, name)
        + attribute(_IFLA_LINKINFO, text(_INFO_KIND, kind))
    )
    return Message(f"create interface {name}", _NEWLINK, _CREATE | _EXCL, body)


def set_up(index: int) -> Message:
    """Bring an interface up."""
    return Message("set interface up", _NEWLINK, 0, _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP))


def silence_ipv6(index: int) -> Message:
    """Keep an interface from giving itself an IPv6 address when it comes up."""
    mode = attribute(_INET6_ADDR_GEN_MODE, struct.pack("=B", _ADDR_GEN_NONE))
    body = _LINK.pack(0, 0, index, 0, 0)
    body += attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
    return Message("turn IPv6 addresses off", _NEWLINK, 0, body)


def route_loopback(index: int) -> Message:
    """Let packets with addresses of 127.0.0.0/8 pass through an interface (``route_localnet``).

    Node ports on loopback need it; the firewall keeps pods from sending to such addresses.
    """
    setting = attribute(_INET_CONF, number(_ROUTE_LOCALNET, 1))
    body = _LINK.pack(0, 0, index, 0, 0)
    body += attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET, setting))
    return Message("let loopback addresses pass", _NEWLINK, 0, body)


def delete_link(index: int) -> Message:
    """Remove an interface, and its peer."""
    return Message("delete interface", _DELLINK, 0, _LINK.pack(0, 0, index, 0, 0))


def add_address(index: int, address: str, prefix: int = 32) -> Message:
    """Give an interface an IPv4 address."""
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, _SCOPE_UNIVERSE, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return Message(f"add address {address}", _NEWADDR, _CREATE | _EXCL, body)


def add_route(
    index: int, destination: str, prefix: int, *, gateway: str = "", source: str = ""
) -> Message:
    """Send ``destination/prefix`` out of an interface, on to ``gateway`` when given."""
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    body = struct.pack(
        "=BBBBBBBBI",
        socket.AF_INET, prefix, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, _RTN_UNICAST,
        _ONLINK if gateway else 0,
    )  # fmt: skip
    if prefix:
        body += attribute(_RTA_DST, socket.inet_aton(destination))
    if gateway:
        body += attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
    if source:
        body += attribute(_RTA_PREFSRC, socket.inet_aton(source))
    body += number(_RTA_OIF, index)
    return Message(f"add route {destination}/{prefix}", _NEWROUTE, _CREATE | _EXCL, body)


def add_shared_route(index: int, network: ipaddress.IPv4Network, source: str) -> Message:
    """Send a network out of an interface, beside whoever else routes the same network.

    The kernel answers EEXIST when exactly this route is there.
    """
    route = add_route(index, str(network.network_address), network.prefixlen, source=source)
    return Message(f"add route {network}", _NEWROUTE, _CREATE | _APPEND, route.body)


def bar_network(network: ipaddress.IPv4Network) -> Message:
    """Answer ``host unreachable`` for a network wherever no longer prefix has a route.

    Without it, packets to a pod that is gone would follow the default route off this machine.
    """
    return Message(f"bar {network}", _NEWROUTE, _CREATE | _EXCL, _unreachable(network))


def unbar_network(network: ipaddress.IPv4Network) -> Message:
    """Undo ``bar_network``."""
    return Message(f"unbar {network}", _DELROUTE, 0, _unreachable(network))


def _unreachable(network: ipaddress.IPv4Network) -> bytes:
    body = struct.pack(
        "=BBBBBBBBI",
        socket.AF_INET, network.prefixlen, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, _SCOPE_UNIVERSE,
        _RTN_UNREACHABLE, 0,
    )  # fmt: skip
    return body + attribute(_RTA_DST, network.network_address.packed)


def add_neighbour(index: int, address: str, hardware: bytes) -> Message:
    """A permanent neighbour: it needs no ARP and does not count towards the kernel's limit."""
    body = struct.pack("=BxxxiHBB", socket.AF_INET, index, _NUD_PERMANENT, 0, 0)
    body += attribute(_NDA_DST, socket.inet_aton(address)) + attribute(_NDA_LLADDR, hardware)
    return Message(f"add neighbour {address}", _NEWNEIGH, _CREATE | _EXCL, body)


class RouteSocket:
    """A netlink socket, of this network namespace or of another; blocking, one request at a time."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self, namespace: Path | None = None) -> None:
        self._sequence = 0
        self._socket = _socket_in(namespace)
        self._socket.settimeout(10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, messages: Sequence[Message]) -> None:
        """Carry out the messages in order, in one write.

        Raises:
            OSError: the first that failed; later ones were tried all the same.
        """
        batch = b""
        expected: dict[int, str] = {}
        for message in messages:
            self._sequence += 1
            expected[self._sequence] = message.what
            batch += netlink.HEADER.pack(
                netlink.HEADER.size + len(message.body), message.kind,
                netlink.REQUEST | netlink.ACK | message.flags, self._sequence, 0,
            ) + message.body  # fmt: skip
        self._socket.sendto(batch, (0, 0))
        failure: OSError | None = None
        while expected:
            for kind, sequence, body in self._receive():
                if kind != netlink.ERROR or sequence not in expected:
                    continue
                what = expected.pop(sequence)
                code = -struct.unpack_from("=i", body)[0]
                if code and failure is None:
                    failure = OSError(code, os.strerror(code), what)
        if failure is not None:
            raise failure

    def index_of(self, name: str) -> int | None:
        """The index of an interface, or None when it does not exist."""
        self._sequence += 1
        body = _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name)
        self._request(_GETLINK, netlink.REQUEST, body)
        for kind, sequence, answer in self._receive():
            if sequence != self._sequence:
                continue
            if kind == _NEWLINK:
                return int(struct.unpack_from("=i", answer, 4)[0])
            if kind == netlink.ERROR:
                return None
        return None

    def links(self) -> dict[str, int]:
        """Every interface of the namespace: name to index."""
        self._sequence += 1
        self._request(_GETLINK, netlink.REQUEST | netlink.DUMP, _LINK.pack(0, 0, 0, 0, 0))
        found: dict[str, int] = {}
        while True:
            for kind, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if kind in (netlink.DONE, netlink.ERROR):
                    return found
                index = int(struct.unpack_from("=i", body, 4)[0])
                for kind_of, value in attributes(body[_LINK.size :]):
                    if kind_of == _IFLA_IFNAME:
                        found[value.rstrip(b"\0").decode()] = index

    def _request(self, kind: int, flags: int, body: bytes) -> None:
        header = netlink.HEADER.pack(
            netlink.HEADER.size + len(body), kind, flags, self._sequence, 0
        )
        self._socket.sendto(header + body, (0, 0))

    def _receive(self) -> list[tuple[int, int, bytes]]:
        return list(netlink.messages(self._socket.recv(netlink.RECEIVE_BYTES)))


def _socket_in(namespace: Path | None) -> socket.socket:
    """A socket stays in the namespace in which it was made; the thread comes back at once."""
    if namespace is None:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.enter_namespace(away, syscalls.CLONE_NEWNET)
        finally:
            os.close(away)
        try:
            return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        finally:
            syscalls.enter_namespace(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)
