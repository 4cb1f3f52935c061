"""The table of Services in the kernel: three network namespaces, a machine and two pods."""

import contextlib
import ipaddress
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from tests.harness import require_root

from knarr.meta.objects import Key
from knarr.node import syscalls
from knarr.node.firewall import FirewallRules
from knarr.node.routing.conntrack import forget_udp
from knarr.node.routing.table import RouteTable, TableSettings
from knarr.node.routing.targets import PortRoute, Target
from knarr.node.rtnetlink import RouteSocket, route_loopback

pytestmark = pytest.mark.root

T = TypeVar("T")
WEB, DNS = Key("default", "web"), Key("default", "dns")
GATEWAY, CLUSTER_IP = "10.201.0.1", "10.197.0.10"
PODS = ("10.201.0.2", "10.201.0.3")


def inside(namespace: str, work: Callable[[], T]) -> T:
    """Run something in a network namespace; sockets that it makes stay there."""
    result: list[T | BaseException] = []

    def body() -> None:
        descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            syscalls.enter_namespace(descriptor, syscalls.CLONE_NEWNET)
            result.append(work())
        except BaseException as error:
            result.append(error)
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(20)
    (value,) = result
    if isinstance(value, BaseException):
        raise value
    return value


@dataclass
class Machine:
    """A machine with pods, in namespaces."""

    name: str
    table: RouteTable
    rules: FirewallRules

    def run(self, *argv: str, data: str = "") -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *argv],
            input=data, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{argv}: {done.stderr}\n{data}"
        return done.stdout

    def load(self, text: str) -> None:
        if text:
            self.run("nft", "-f", "-", data=text)

    def change(self, *routes: PortRoute, drop: tuple[Key, ...] = ()) -> frozenset[Target]:
        wanted: dict[Key, tuple[PortRoute, ...]] = dict.fromkeys(drop, ())
        for route in routes:
            wanted[route.service] = (*wanted.get(route.service, ()), route)
        transaction = self.table.change(wanted)
        self.load(transaction.text)
        return transaction.gone

    def pod(self, number: int) -> str:
        return f"{self.name}-{number}"


@contextlib.contextmanager
def machine(node_port_address: str = "127.0.0.1") -> Iterator[Machine]:
    require_root()
    name = f"knrt{os.getpid() % 10000}"
    settings = TableSettings(
        "knarr-test", "kntest", ipaddress.IPv4Network("10.197.0.0/16"), GATEWAY, node_port_address
    )
    rules = FirewallRules(
        "knarr-test", "kntest", ipaddress.IPv4Network("10.201.0.0/16"), GATEWAY, (80, 6443),
        node_ports_outside=settings.node_ports_outside,
    )  # fmt: skip
    made = Machine(name, RouteTable(settings), rules)

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    namespaces = [name, made.pod(0), made.pod(1)]
    try:
        for one in namespaces:
            ip("netns", "add", one)
            ip("-n", one, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "kntest-gw", "type", "bridge")
        ip("-n", name, "link", "set", "kntest-gw", "up")
        ip("-n", name, "address", "add", f"{GATEWAY}/32", "dev", "kntest-gw")
        ip("-n", name, "route", "add", "10.197.0.0/16", "dev", "kntest-gw", "src", GATEWAY)
        for number, address in enumerate(PODS):
            link, peer = f"kntest.{number}", made.pod(number)
            ip("-n", name, "link", "add", link, "type", "veth", "peer", "eth0", "netns", peer)
            with RouteSocket(Path("/run/netns") / name) as route:
                index = route.index_of(link)
                assert index is not None
                route.send([route_loopback(index)])
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "route", "add", address, "dev", link, "src", GATEWAY)
            ip("-n", peer, "address", "add", f"{address}/32", "dev", "eth0")
            ip("-n", peer, "link", "set", "eth0", "up")
            ip("-n", peer, "route", "add", GATEWAY, "dev", "eth0")
            ip("-n", peer, "route", "add", "default", "via", GATEWAY)
        made.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        made.load(rules.text())
        made.load(made.table.full())
        yield made
    finally:
        for one in namespaces:
            subprocess.run(["ip", "netns", "del", one], check=False, capture_output=True)


@contextlib.contextmanager
def serving(namespace: str, answer: str, port: int = 8080) -> Iterator[None]:
    """A server that says its name and from where it is asked, by TCP and UDP."""
    tcp = inside(namespace, lambda: socket.create_server(("0.0.0.0", port)))
    udp = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("0.0.0.0", port))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = tcp.accept()
                with connection:
                    connection.sendall(f"{answer} {peer[0]}".encode())

    def receive() -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = udp.recvfrom(100)
                if data == b"stop":
                    return
                udp.sendto(f"{answer} {peer[0]}".encode(), peer)

    threads = [threading.Thread(target=one) for one in (accept, receive)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        tcp.shutdown(socket.SHUT_RDWR)
        tcp.close()
        stopper = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        stopper.sendto(b"stop", ("127.0.0.1", port))
        stopper.close()
        for thread in threads:
            thread.join(10)
        udp.close()


def ask(namespace: str, address: str, port: int) -> str:
    def connect() -> str:
        with socket.create_connection((address, port), timeout=3) as connection:
            connection.settimeout(3)
            return connection.recv(100).decode()

    return inside(namespace, connect)


def ask_udp(namespace: str, address: str, port: int, source: int = 0) -> str:
    def exchange() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(3)
            asking.bind(("0.0.0.0", source))
            asking.connect((address, port))
            asking.send(b"x")
            return asking.recv(100).decode()

    return inside(namespace, exchange)


def web(*pods: int, **fields) -> PortRoute:
    targets = tuple(Target(PODS[number], 8080) for number in pods)
    return replace(PortRoute(WEB, "http", "tcp", CLUSTER_IP, 80, targets=targets), **fields)


def test_connections_are_spread_refused_and_find_their_way_back():
    with machine() as here, serving(here.pod(0), "zero"), serving(here.pod(1), "one"):
        first = here.pod(0)
        with pytest.raises(ConnectionRefusedError):
            ask(first, CLUSTER_IP, 80)
        here.change(web(0, 1))
        assert {ask(first, CLUSTER_IP, 80) for _ in range(30)} == {
            f"zero {GATEWAY}",
            f"one {PODS[0]}",
        }
        assert {ask(here.name, CLUSTER_IP, 80)[:4] for _ in range(30)} == {"zero", "one "}
        # Another port, and an address of nobody: refused at once, from inside and from the machine.
        for where in (first, here.name):
            for address, port in ((CLUSTER_IP, 81), ("10.197.3.3", 80)):
                with pytest.raises(ConnectionRefusedError):
                    ask(where, address, port)
        # Not from the pod that met itself: the kernel counts its redirects against other ICMP messages.
        with pytest.raises(ConnectionRefusedError):
            ask_udp(here.pod(1), CLUSTER_IP, 80)
        with pytest.raises(PermissionError):
            ask_udp(here.name, CLUSTER_IP, 80)
        here.change(web(1))
        assert {ask(first, CLUSTER_IP, 80) for _ in range(10)} == {f"one {PODS[0]}"}
        here.change(web())
        with pytest.raises(ConnectionRefusedError):
            ask(first, CLUSTER_IP, 80)
        here.change(web(0, 1))
        here.change(drop=(WEB,))
        with pytest.raises(ConnectionRefusedError):
            ask(first, CLUSTER_IP, 80)
        left = here.run("nft", "list", "table", "ip", "knarr-test")
        assert "chain service-" not in left
        assert "elements" not in left


def test_node_ports_are_open_on_loopback_and_to_pods_only():
    with machine() as here, serving(here.pod(0), "zero"), serving(here.pod(1), "one"):
        here.change(web(0, node_port=30080))
        assert ask(here.name, "127.0.0.1", 30080) == f"zero {GATEWAY}"
        assert ask(here.name, GATEWAY, 30080).startswith("zero")
        assert ask(here.pod(1), GATEWAY, 30080) == f"zero {PODS[1]}"
        assert ask(here.pod(0), GATEWAY, 30080) == f"zero {GATEWAY}"
        here.change(web(node_port=30080))
        for where in (here.name, here.pod(1)):
            with pytest.raises(ConnectionRefusedError):
                ask(where, GATEWAY, 30080)
        with pytest.raises(ConnectionRefusedError):
            ask(here.name, "127.0.0.1", 30080)
        stranger = outside(here)
        with pytest.raises(OSError, match=r"timed out|refused|unreach"):
            ask(stranger, "10.199.0.1", 30080)


def outside(here: Machine) -> str:
    """Another machine on a network of this one."""
    name = here.pod(1)
    for arguments in (
        ("-n", here.name, "link", "add", "lan", "type", "veth", "peer", "lan", "netns", name),
        ("-n", here.name, "address", "add", "10.199.0.1/24", "dev", "lan"),
        ("-n", name, "address", "add", "10.199.0.2/24", "dev", "lan"),
        ("-n", here.name, "link", "set", "lan", "up"),
        ("-n", name, "link", "set", "lan", "up"),
    ):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)
    return name


def test_node_ports_are_open_to_other_machines_only_by_wish():
    for address, reachable in (("127.0.0.1", False), ("10.199.0.1", True), ("0.0.0.0", True)):
        with machine(address) as here, serving(here.pod(0), "zero"):
            stranger = outside(here)
            here.change(web(0, node_port=30080))
            if reachable:
                assert ask(stranger, "10.199.0.1", 30080) == "zero 10.199.0.2"
            else:
                with pytest.raises(OSError, match=r"timed out|refused"):
                    ask(stranger, "10.199.0.1", 30080)


def test_a_client_comes_back_to_the_same_pod_by_wish():
    with machine() as here, serving(here.pod(0), "zero"), serving(here.pod(1), "one"):
        here.change(web(0, 1, affinity_s=100))
        answers = {ask(here.name, CLUSTER_IP, 80)[:4] for _ in range(20)}
        assert len(answers) == 1
        stayed = 0 if answers == {"zero"} else 1
        here.change(web(stayed, affinity_s=100))
        here.change(web(0, 1, affinity_s=100))
        assert {ask(here.name, CLUSTER_IP, 80)[:4] for _ in range(20)} == answers
        here.change(web(1 - stayed, affinity_s=100))
        assert {ask(here.name, CLUSTER_IP, 80)[:4] for _ in range(5)} != answers
        here.change(web(0, 1))
        assert {ask(here.name, CLUSTER_IP, 80)[:4] for _ in range(30)} == {"zero", "one "}
        here.change(drop=(WEB,))
        left = here.run("nft", "list", "table", "ip", "knarr-test")
        assert "clients-" not in left


def test_udp_flows_to_pods_that_are_gone_are_forgotten():
    with machine() as here, serving(here.pod(0), "zero"), serving(here.pod(1), "one"):

        def route(*pods: int) -> PortRoute:
            return replace(web(*pods), service=DNS, protocol="udp", port=53)

        here.change(route(0))
        assert ask_udp(here.pod(1), CLUSTER_IP, 53, 4000) == f"zero {PODS[1]}"
        gone = here.change(route(1))
        assert gone == {Target(PODS[0], 8080)}
        assert ask_udp(here.pod(1), CLUSTER_IP, 53, 4000) == f"zero {PODS[1]}"
        assert inside(here.name, lambda: forget_udp(gone)) == 1
        assert ask_udp(here.pod(1), CLUSTER_IP, 53, 4000) == f"one {GATEWAY}"
        assert inside(here.name, lambda: forget_udp(gone)) == 0


def test_pods_reach_nothing_of_the_machine_through_services():
    with machine() as here, serving(here.name, "machine", 9000), serving(here.name, "api", 6443):
        pod = here.pod(0)
        leads = [("127.0.0.1", 9000), (GATEWAY, 9000), ("169.254.169.254", 80)]
        for number, (address, port) in enumerate(leads):
            route = web(port=90 + number, name=f"p{number}", targets=(Target(address, port),))
            here.change(route)
            with pytest.raises(OSError, match=r"timed out|refused|nreachable"):
                ask(pod, CLUSTER_IP, 90 + number)
        here.change(web(port=443, targets=(Target(GATEWAY, 6443),)))
        assert ask(pod, CLUSTER_IP, 443) == f"api {PODS[0]}"
        # An address of this machine's loopback, sent by hand.
        subprocess.run(["ip", "-n", pod, "route", "add", "127.9.9.9", "via", GATEWAY, "dev", "eth0", "onlink"],
                       check=False, capture_output=True)  # fmt: skip
        with pytest.raises(OSError, match=r"timed out|refused|nreachable|Invalid"):
            ask(pod, "127.9.9.9", 9000)


def test_two_services_may_not_break_each_other():
    with machine() as here, serving(here.pod(0), "zero"), serving(here.pod(1), "one"):
        here.change(web(0))
        here.change(replace(web(1), service=DNS))
        assert ask(here.name, CLUSTER_IP, 80).startswith("zero")
        here.change(drop=(WEB,))
        assert ask(here.name, CLUSTER_IP, 80).startswith("one")
        here.load(here.table.full())
        assert ask(here.name, CLUSTER_IP, 80).startswith("one")
