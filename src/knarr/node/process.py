"""The node process: ``python -m knarr.node.process --settings FILE``.

SIGTERM and SIGINT end it and leave the containers running; the next one adopts them. ``knarr down`` removes
them.
"""

import argparse
import asyncio
import logging
import random
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from knarr.config import Settings, read_settings
from knarr.kits.clock import SystemClock
from knarr.kits.tasks import TaskScope
from knarr.kube.client import Client
from knarr.kube.events import EventRecorder
from knarr.kube.http import HttpTransport, unix_endpoint
from knarr.meta.errors import KnarrError
from knarr.node import syscalls
from knarr.node.agent import sleep
from knarr.node.catalog import NodeImages
from knarr.node.composition import CachedDirectory, NodeParts, Outside, make_host
from knarr.node.dns import DnsServer, Resolver, machine_resolvers
from knarr.node.exits import Orphans
from knarr.node.host import SandboxHost
from knarr.node.http import NodeApi
from knarr.node.imagecleanup import ImageCleanup, disk_of
from knarr.node.images.pull import RegistryPuller
from knarr.node.images.registry import RegistryClient
from knarr.node.images.store import ImageStore
from knarr.node.machine import examine_machine
from knarr.node.names import ClusterNames
from knarr.node.record import CrashPoint
from knarr.node.recovery import recover
from knarr.node.registration import HEARTBEAT_S, RETRY_S, Registration
from knarr.node.runc import RuntimeVersion
from knarr.node.sessions.api import SessionApi

LOG = logging.getLogger(__name__)

EX_CONFIG = 78
_SWEEP_S = 10.0
_SPARES = 2


async def run_node(
    settings: Settings,
    stop: asyncio.Event,
    *,
    rng: random.Random,
    crash_point: CrashPoint | None = None,
    spares: int = _SPARES,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Run the agent until ``stop`` is set.

    Args:
        settings: of the instance.
        stop: ends it; containers go on.
        rng: for ids and jitter.
        crash_point: for tests, see ``record.StepLog``.
        spares: sandboxes without a Pod that are kept ready.
        started: called once every socket listens.

    Raises:
        KnarrError, OSError: the machine cannot run containers.
    """
    syscalls.become_subreaper()
    clock, machine = SystemClock(), examine_machine()
    host = make_host(settings, machine, clock, rng, crash_point)
    version = await _prepare(host)
    recovered = await recover(host)
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(
            HttpTransport(unix_endpoint(settings.paths.api_socket), user_agent="knarr-node")
        )
        registry = await stack.enter_async_context(RegistryClient(clock=clock, rng=rng))
        client = Client(transport)
        recorder = await stack.enter_async_context(
            EventRecorder(client, "kubelet", clock=clock, rng=rng)
        )
        puller = RegistryPuller(registry)
        store = ImageStore(settings.paths.images, puller=puller)
        store.prepare()
        outside = Outside(machine, clock, rng, client, recorder, store)
        parts = NodeParts(settings, host, outside)
        for sandbox in recovered.adopted:
            parts.parker.adopt(sandbox)
        LOG.info("adopted %d sandboxes, undid %d", len(recovered.adopted), len(recovered.undone))
        scope = await stack.enter_async_context(TaskScope())
        cleanup = ImageCleanup(
            store, parts.image_needs, lambda: disk_of(settings.paths.images), clock, sleep
        )
        images = NodeImages(store, puller, parts.sources, cleanup)
        await _enter(stack, scope, parts, images, version)
        scope.start(host.keep_spares(spares), name="spares")
        started()
        await stop.wait()


async def _prepare(host: SandboxHost) -> RuntimeVersion:
    """Make the machine ready for sandboxes; which runtime it has."""
    version = await host.launcher.runtime.version()
    if version.missing:
        LOG.warning("%s lacks %s", version.text, "; ".join(version.missing))
    host.prepare()
    await host.network.start()
    return version


async def _enter(
    stack: AsyncExitStack,
    scope: TaskScope,
    parts: NodeParts,
    images: NodeImages,
    version: RuntimeVersion,
) -> None:
    """Start everything, in the order in which parts need one another."""
    settings, outside = parts.settings, parts.outside
    await stack.enter_async_context(parts.agent)
    await stack.enter_async_context(parts.activator)
    await stack.enter_async_context(parts.gateways.serving(parts.activator.activate))
    directory = CachedDirectory(parts.core_services, parts.pods, parts.router)
    names = ClusterNames(directory, settings.pod_gateway)
    resolver = Resolver(names, machine_resolvers(), outside.clock, outside.rng)
    await stack.enter_async_context(DnsServer(resolver, settings.pod_gateway))
    await stack.enter_async_context(
        NodeApi(
            settings.paths.node_socket,
            workers=parts.agent.worker_of,
            sandboxes=lambda: parts.host.sandboxes,
            images=images,
            status=lambda: parts.status(version),
            drop_parked=parts.parker.drop_all,
            clock=outside.clock,
            sessions=SessionApi(parts.agent.worker_of, parts.host.launcher, outside.rng),
        )
    )
    for informer in parts.factory.informers:
        scope.start(informer.run(), name=f"informer-{informer.kind.qualified_plural}")
    for controller in parts.provisioning:
        await stack.enter_async_context(controller)
    scope.start(parts.router.run(), name="services")
    scope.start(parts.run_parker(), name="parker")
    scope.start(parts.run_renewal(), name="renewal")
    scope.start(parts.settle_recovered(), name="settle-recovered")
    scope.start(_clean_images(parts, images), name="images")
    scope.start(_heartbeats(parts.registration(version)), name="heartbeats")
    scope.start(_sweep(parts.host), name="orphans")


async def _clean_images(parts: NodeParts, images: NodeImages) -> None:
    await parts.factory.wait_synced()
    await images.cleanup.run()


async def _heartbeats(registration: Registration) -> None:
    while True:
        await sleep(HEARTBEAT_S if await registration.beat() else RETRY_S)


async def _sweep(host: SandboxHost) -> None:
    """Collect strangers that were left to us as their subreaper."""
    orphans = Orphans()

    def spared(pid: int) -> bool:
        # Programs that we wait for are ours for moments only; two sweeps never see the same one ended.
        return any(
            run.process is not None and run.process.pid == pid
            for sandbox in host.sandboxes.values()
            for run in (*sandbox.runs.values(), *sandbox.previous.values())
        )

    while True:
        await sleep(_SWEEP_S)
        orphans.sweep(spared)


def main(argv: list[str]) -> int:
    """Parse the arguments and run; the exit status."""
    parser = argparse.ArgumentParser(prog="knarr.node.process", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the instance's settings.json")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )  # fmt: skip
    try:
        settings = read_settings(arguments.settings)
    except (OSError, msgspec.DecodeError) as error:
        LOG.error("settings %s: %s", arguments.settings, error)  # noqa: TRY400 - for people
        return EX_CONFIG
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run_until_signalled(settings))
    except (KnarrError, OSError) as error:
        LOG.error("the node agent cannot run: %s", error)  # noqa: TRY400 - for people
        return EX_CONFIG if isinstance(error, PermissionError) else 1
    return 0


async def _run_until_signalled(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_node(settings, stop, rng=random.Random())  # noqa: S311 - ids and jitter, no secrets


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
