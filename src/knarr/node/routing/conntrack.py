"""Makes the kernel forget UDP flows to targets that are gone.

A flow is remembered for as long as packets come: a client that keeps its port would be sent to a Pod that has
ended for ever. Sources: ctnetlink of ``linux/netfilter/nfnetlink_conntrack.h``.
"""

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator

from knarr.node import netlink
from knarr.node.netlink import attribute, attributes
from knarr.node.routing.targets import Target

_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_ORIGINAL, _REPLY, _ZONE = 1, 2, 18
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCE, _DESTINATION = 1, 2
_PROTOCOL_NUMBER, _SOURCE_PORT = 1, 2
_NESTED = 0x8000
_FAMILY = struct.pack("=BBH", socket.AF_INET, 0, 0)
_TIMEOUT_S = 10.0


def forget_udp(targets: Collection[Target]) -> int:
    """Drop every UDP flow that was sent on to one of the targets; how many there were. Blocks.

    Raises:
        OSError: the kernel does not offer its table, or refused.
    """
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER
    ) as peer:
        peer.settimeout(_TIMEOUT_S)
        peer.bind((0, 0))
        found = [body for body in _dump(peer) if is_sent_on(body, targets)]
        for number, body in enumerate(found, start=2):
            _delete(peer, number, body)
    return len(found)


def _dump(peer: socket.socket) -> Iterator[bytes]:
    peer.send(_message(_GET, netlink.REQUEST | netlink.DUMP, 1, _FAMILY))
    while True:
        for kind, _, body in netlink.messages(peer.recv(netlink.RECEIVE_BYTES)):
            if kind == netlink.ERROR:
                code = -int(struct.unpack_from("=i", body)[0])
                raise OSError(code, os.strerror(code), "list flows")
            if kind == netlink.DONE:
                return
            yield body[len(_FAMILY) :]


def _delete(peer: socket.socket, number: int, body: bytes) -> None:
    parts = dict(attributes(body))
    request = _FAMILY + attribute(_ORIGINAL | _NESTED, parts[_ORIGINAL])
    if _ZONE in parts:
        request += attribute(_ZONE, parts[_ZONE])
    peer.send(_message(_DELETE, netlink.REQUEST | netlink.ACK, number, request))
    for _, _, answer in netlink.messages(peer.recv(netlink.RECEIVE_BYTES)):
        code = -int(struct.unpack_from("=i", answer)[0])
        if code not in (0, errno.ENOENT):
            raise OSError(code, os.strerror(code), "forget a flow")


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return netlink.HEADER.pack(netlink.HEADER.size + len(body), kind, flags, number, 0) + body


def is_sent_on(flow: bytes, targets: Collection[Target]) -> bool:
    """Whether a flow, the attributes of one entry, is UDP and its destination was replaced by a target."""
    parts = dict(attributes(flow))
    if _ORIGINAL not in parts or _REPLY not in parts:
        return False
    original, reply = (dict(attributes(parts[one])) for one in (_ORIGINAL, _REPLY))
    protocol = dict(attributes(reply.get(_TUPLE_PROTOCOL, b"")))
    if protocol.get(_PROTOCOL_NUMBER, b"\0")[0] != socket.IPPROTO_UDP:
        return False
    source = dict(attributes(reply.get(_TUPLE_IP, b""))).get(_SOURCE, b"")
    meant = dict(attributes(original.get(_TUPLE_IP, b""))).get(_DESTINATION, b"")
    port = protocol.get(_SOURCE_PORT, b"")
    if len(source) != 4 or len(port) != 2 or source == meant:
        return False
    return Target(socket.inet_ntoa(source), int.from_bytes(port, "big")) in targets
