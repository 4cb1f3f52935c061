"""Which flows of the kernel's table are meant."""

import socket
import struct

from knarr.node.netlink import attribute
from knarr.node.routing.conntrack import is_sent_on
from knarr.node.routing.targets import Target

GONE = {Target("10.232.0.2", 53)}


def part(kind: int, source: str, target: str, ports: tuple[int, int], protocol: int) -> bytes:
    addresses = attribute(1, socket.inet_aton(source)) + attribute(2, socket.inet_aton(target))
    numbers = attribute(1, bytes([protocol]))
    for number, port in enumerate(ports, start=2):
        numbers += attribute(number, struct.pack(">H", port))
    return attribute(kind | 0x8000, attribute(0x8001, addresses) + attribute(0x8002, numbers))


def flow(
    meant: str = "10.96.0.9", end: str = "10.232.0.2", port: int = 53, protocol: int = 17
) -> bytes:
    client = "10.232.0.9"
    original = part(1, client, meant, (4000, 53), protocol)
    return original + part(2, end, client, (port, 4000), protocol) + attribute(3, b"\0\0\0\1")


def test_only_udp_flows_to_those_targets_count():
    assert is_sent_on(flow(), GONE)
    assert not is_sent_on(flow(end="10.232.0.3"), GONE)
    assert not is_sent_on(flow(port=54), GONE)
    assert not is_sent_on(flow(protocol=6), GONE)
    assert not is_sent_on(flow(meant="10.232.0.2"), GONE)
    assert not is_sent_on(b"", GONE)
    assert not is_sent_on(flow()[:30], GONE)
