"""The router between informers and nft, both of them played."""

import asyncio
import contextlib
import ipaddress
import random
from types import SimpleNamespace

import msgspec
import pytest
from tests.unit.node_routing.nftmodel import Table

from knarr.kube.cache import Change
from knarr.meta.objects import Key
from knarr.node import programs
from knarr.node.firewall import FirewallRules
from knarr.node.programs import Output, ProgramError
from knarr.node.routing import router as module
from knarr.node.routing.router import ServiceRouter
from knarr.node.routing.table import RouteTable, TableSettings, base_text
from knarr.node.routing.targets import Target
from knarr.resources.core.service import Service
from knarr.resources.discovery.endpointslice import EndpointSlice

NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
SETTINGS = TableSettings("knarr", "knarr", NETWORK, "10.232.0.1")
RULES = FirewallRules("knarr", "knarr", ipaddress.IPv4Network("10.232.0.0/16"), "10.232.0.1")


class Informer:
    def __init__(self) -> None:
        self.objects: dict[Key, object] = {}
        self.handlers: list = []

    def add_handler(self, handler) -> None:
        self.handlers.append(handler)

    def add_index(self, name, function) -> None:
        self.function = function

    async def wait_synced(self) -> None:
        return

    def get(self, key):
        return self.objects.get(key)

    def by_index(self, name, value):
        return tuple(one for one in self.objects.values() if value in self.function(one))

    def put(self, key: Key, new) -> None:
        old = self.objects.pop(key, None)
        if new is not None:
            self.objects[key] = new
        for handler in self.handlers:
            handler(Change(key, old, new))


class Kernel:
    """nft on a table of our own."""

    def __init__(self) -> None:
        self.table = Table()
        self.runs: list[str] = []
        self.failures = 0
        self.flushed = False

    async def run(self, argv, *, data=None, timeout_s=0):
        if argv == ("nft", "list", "tables"):
            names = "" if self.flushed else "table inet knarr\ntable ip knarr\n"
            return Output(0, names.encode(), b"")
        assert argv == ("nft", "-f", "-")
        text = data.decode()
        if text == RULES.text():
            return Output(0, b"", b"")
        if self.failures:
            self.failures -= 1
            raise ProgramError(argv, 1, "Error: No such file or directory")
        self.runs.append(text)
        base = base_text(SETTINGS)
        if text.startswith(base):
            self.flushed = False
            self.table = Table()
            self.table.load_base(base)
        self.table.run(text.removeprefix(base))
        return Output(0, b"", b"")

    @property
    def targets(self) -> str:
        return str(
            [rules for name, rules in self.table.chains.items() if name.startswith("service-")]
        )


def service(name: str = "web", namespace: str = "ns", address: str = "10.96.0.9") -> Service:
    spec = {"clusterIP": address, "ports": [{"port": 80}]}
    return msgspec.convert(
        {"metadata": {"name": name, "namespace": namespace}, "spec": spec}, Service
    )


def piece(*addresses: str, name: str = "web") -> EndpointSlice:
    labels = {"kubernetes.io/service-name": name}
    return msgspec.convert(
        {
            "metadata": {"name": f"{name}-1", "namespace": "ns", "labels": labels},
            "addressType": "IPv4", "ports": [{"port": 8080}],
            "endpoints": [{"addresses": [address]} for address in addresses],
        },
        EndpointSlice,
    )  # fmt: skip


@pytest.fixture
def world(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(programs, "run", kernel.run)
    monkeypatch.setattr(module, "_CHECK_S", 0.02)
    monkeypatch.setattr(
        module, "forget_udp", lambda gone: kernel.runs.append(f"forget {sorted(gone)}")
    )
    services, slices = Informer(), Informer()
    router = ServiceRouter(
        RouteTable(SETTINGS), RULES, services, slices,
        api=Target("10.232.0.1", 6443), sleep=lambda _: asyncio.sleep(0), rng=random.Random(1),
    )  # fmt: skip
    return SimpleNamespace(kernel=kernel, services=services, slices=slices, router=router)


@contextlib.asynccontextmanager
async def running(world):
    task = asyncio.ensure_future(world.router.run())
    try:
        async with asyncio.timeout(5):
            yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_it_follows_services_and_slices(world):
    world.services.put(Key("ns", "web"), service())
    async with running(world):
        await until(lambda: world.kernel.runs)
        assert "service-ports" in world.kernel.runs[0]
        world.slices.put(Key("ns", "web-1"), piece("10.232.0.5"))
        await until(lambda: "10.232.0.5:8080" in world.kernel.targets)
        world.slices.put(Key("ns", "web-1"), piece("10.232.0.5", name="other"))
        await until(lambda: world.kernel.targets == "[]")
        world.slices.put(Key("ns", "web-1"), piece("10.232.0.6"))
        await until(lambda: "10.232.0.6:8080" in world.kernel.targets)
        world.services.put(Key("ns", "web"), None)
        await until(lambda: world.kernel.targets == "[]")
        assert sum("delete table" in run for run in world.kernel.runs) == 1
        assert len(world.router) == 0


async def test_the_api_has_a_target_before_its_slices_are_known(world):
    world.services.put(Key("default", "kubernetes"), service("kubernetes", "default", "10.96.0.1"))
    async with running(world):
        await until(lambda: "10.232.0.1:6443" in world.kernel.targets)


async def test_after_a_refusal_everything_is_loaded_anew(world):
    async with running(world):
        await until(lambda: world.kernel.runs)
        world.kernel.failures = 2
        world.services.put(Key("ns", "web"), service())
        world.slices.put(Key("ns", "web-1"), piece("10.232.0.5"))
        await until(lambda: "10.232.0.5:8080" in world.kernel.targets)
        assert sum("delete table" in run for run in world.kernel.runs) == 2
        await until(lambda: world.router.error == "")


async def test_rules_that_somebody_flushed_are_put_back(world):
    world.services.put(Key("ns", "web"), service())
    world.slices.put(Key("ns", "web-1"), piece("10.232.0.5"))
    async with running(world):
        await until(lambda: world.kernel.runs)
        world.kernel.flushed = True
        await until(lambda: len(world.kernel.runs) == 2)
        assert not world.kernel.flushed
        assert "10.232.0.5:8080" in world.kernel.targets


async def test_a_storm_of_changes_costs_few_transactions(world):
    world.services.put(Key("ns", "web"), service())
    async with running(world):
        await until(lambda: world.kernel.runs)
        for number in range(200):
            world.slices.put(Key("ns", "web-1"), piece(f"10.232.1.{number}"))
        await until(lambda: "10.232.1.199:8080" in world.kernel.targets)
        assert len(world.kernel.runs) <= 3
