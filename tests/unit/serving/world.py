"""The real API server on a memory store, the real workload and Serving controllers, a node and a gateway.

The node is a reconciler that starts what is bound to it and ends what terminates; the gateway acknowledges
every version. Both can be told not to. Time is the event loop's, and it jumps.
"""

import asyncio
import datetime as dt
import random
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec

from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.dataplane import messages
from knarr.dataplane.table import RoutingTable
from knarr.kits.clock import format_timestamp
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Controller
from knarr.kube.events import EventRecorder
from knarr.kube.factory import InformerFactory
from knarr.kube.handlers import enqueue_self
from knarr.meta.conditions import find_condition
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.autoscaling.podautoscaler import POD_AUTOSCALER
from knarr.resources.catalog import KINDS
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.container import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
)
from knarr.resources.core.event import EVENT
from knarr.resources.core.namespace import NAMESPACE, Namespace
from knarr.resources.core.node import NODE, Node, NodeStatus
from knarr.resources.core.pod import POD, Pod, PodStatus
from knarr.resources.core.references import Condition
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.kind import UserInfo
from knarr.resources.networking.ingress import INGRESS
from knarr.resources.serving.configuration import CONFIGURATION
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.route import ROUTE
from knarr.resources.serving.service import SERVICE, Service
from knarr.serving.controllers import Environment as ServingEnvironment
from knarr.serving.controllers import Serving
from knarr.store.store import Store
from knarr.workloads.controllers import Environment, build_workload_controllers

replace = msgspec.structs.replace
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NS = "default"
SERVING_KINDS = (SERVICE, CONFIGURATION, REVISION, ROUTE, INGRESS, POD_AUTOSCALER)


class LoopClock:
    """Wall time that moves with the event loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.monotonic())


class Counting:
    """A transport that remembers what was written, Events excepted."""

    def __init__(self, inner):
        self._inner = inner
        self.writes = []

    async def request(self, method, path, **arguments):
        if method != "GET" and "/events" not in path:
            self.writes.append(f"{method} {path}")
        return await self._inner.request(method, path, **arguments)

    def watch(self, path, *, query):
        return self._inner.watch(path, query=query)


class FakeNode:
    """Starts and ends Pods; an image's name says how it behaves."""

    def __init__(self, client, pods, clock):
        self.client, self.pods, self.clock = client, pods, clock
        self.running = True
        self.addresses = 1

    async def reconcile(self, key):
        pod = self.pods.get(key)
        if pod is None or not self.running:
            return DONE
        if pod.deleting:
            with suppress(NotFound):
                await self.client.delete(POD, key, grace_s=0, uid=pod.metadata.uid)
            return DONE
        status = pod.status or PodStatus()
        if pod.spec.node_name and not status.pod_ip:
            self.addresses += 1
            await self.report(pod)
        return DONE

    async def report(self, pod: Pod) -> None:
        image = pod.spec.containers[0].image
        ready = "crash" not in image and "absent" not in image
        name = pod.spec.containers[0].name
        state = ContainerState(running=ContainerStateRunning())
        last = None
        if "crash" in image:
            waiting = ContainerStateWaiting(reason="CrashLoopBackOff", message="back-off")
            state = ContainerState(waiting=waiting)
            ended = ContainerStateTerminated(exit_code=5, message="no money")
            last = ContainerState(terminated=ended)
        elif "absent" in image:
            waiting = ContainerStateWaiting(reason="ImagePullBackOff", message="no such image")
            state = ContainerState(waiting=waiting)
        moment = format_timestamp(self.clock.wall())
        others = pod.status.conditions if pod.status else ()
        status = PodStatus(
            phase="Running" if ready else "Pending",
            pod_ip=f"10.232.0.{self.addresses}",
            conditions=(
                *(item for item in others if item.type != "Ready"),
                Condition(
                    type="Ready", status="True" if ready else "False", last_transition_time=moment
                ),
            ),
            container_statuses=(
                ContainerStatus(
                    name=name, ready=ready, state=state, last_state=last, restart_count=0
                ),
            ),
        )
        await self.client.update_status(POD, replace(pod, status=status))


class FakeGateway:
    """Acknowledges in the turn after a delta; names the replicas it is told to."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table
        self.acknowledges = True
        self.asked: list[tuple[str, int]] = []
        self.resumed: list[str] = []

    def connect(self, name: str = "g1") -> None:
        def hear(delta: messages.Delta) -> None:
            if self.acknowledges:
                loop = asyncio.get_running_loop()
                loop.call_soon(self.table.acknowledge, name, delta.version)

        self.table.join(name, self.table.version, hear)

    def catch_up(self) -> None:
        self.acknowledges = True
        self.table.acknowledge("g1", self.table.version)

    async def pick_idle(self, revision: str, count: int) -> tuple[str, ...]:
        self.asked.append((revision, count))
        entry = self.table.revision(revision)
        replicas = entry.replicas if entry else ()
        return tuple(item.id for item in replicas[-count:])

    def resume(self, revision: str, replicas: tuple[str, ...]) -> None:
        self.resumed += replicas


class FakeDigests:
    """Resolves every reference, or says why not."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.asked: list[str] = []
        self.secrets: list[tuple[str, ...]] = []

    async def resolve(self, reference: str, namespace: str, pull_secrets: tuple[str, ...]) -> str:
        self.asked.append(reference)
        self.secrets.append(pull_secrets)
        await asyncio.sleep(0)
        if reference in self.problems:
            raise NotFound(self.problems[reference])
        name = reference.partition(":")[0]
        return f"{name}@sha256:{'0' * 64}"


class World:
    """Everything there is, and shortcuts to look at it and to change it."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self.clock = LoopClock()
        self.rng = random.Random(42)
        self.table = RoutingTable("epoch")
        self.gateway = FakeGateway(self.table)
        self.digests = FakeDigests()

    async def __aenter__(self) -> "World":
        enter = self._stack.enter_async_context
        self.store = await enter(Store(None))
        await self.start()
        for name in (NS, "knative-serving"):
            await self.client.create(NAMESPACE, Namespace(metadata=ObjectMeta(name=name)))
        await self.client.create(NODE, Node(metadata=ObjectMeta(name="node")))
        await self.client.update_status(
            NODE,
            replace(
                await self.client.get(NODE, Key("", "node")),
                status=NodeStatus(
                    allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"},
                    conditions=(Condition(type="Ready", status="True"),),
                ),
            ),
        )
        self.gateway.connect()
        await self.settle()
        return self

    async def start(self) -> None:
        """The server begins to live."""
        self._server = AsyncExitStack()
        enter = self._server.enter_async_context
        handler = Handler(self.store, KINDS, self.clock, self.rng)
        user = UserInfo(name="system:admin", groups=("system:masters",))
        inner = InProcessTransport(handler, user)
        self.client = Client(inner)
        self.transport = Counting(inner)
        client = Client(self.transport)
        recorder = await enter(EventRecorder(client, "test", clock=self.clock, rng=self.rng))
        self.informers = InformerFactory(client, clock=self.clock, rng=self.rng)
        common = {
            "client": client,
            "informers": self.informers,
            "clock": self.clock,
            "rng": self.rng,
            "recorder": recorder,
        }
        workloads = build_workload_controllers(Environment(**common, ca_pem="x"))
        self.serving = Serving(
            ServingEnvironment(
                **common, table=self.table, digests=self.digests, picker=self.gateway
            )
        )
        self.node = FakeNode(self.client, self.informers.informer(POD), self.clock)
        node = Controller("node", self.node, clock=self.clock, rng=self.rng)
        self.informers.informer(POD).add_handler(enqueue_self(node.enqueue))
        await enter(self.informers)
        self.table.ready()
        await enter(self.serving)
        self.controllers = [*workloads, *self.serving.controllers]
        for controller in (*self.controllers, node):
            await enter(controller)

    async def restart(self) -> None:
        """The server dies and comes back; the gateway keeps its table and reconnects."""
        await self._server.aclose()
        self.table = RoutingTable("another")
        self.gateway.table = self.table
        await self.start()
        self.gateway.connect()

    async def __aexit__(self, *error: Any) -> None:
        await self._server.__aexit__(*error)
        await self._stack.__aexit__(*error)

    async def settle(self, seconds: float = 1) -> None:
        await asyncio.sleep(seconds)

    async def again(self) -> list[str]:
        """Every Serving controller looks at every object once more; what was written."""
        self.transport.writes.clear()
        for controller in self.serving.controllers:
            for kind in SERVING_KINDS:
                for key in self.informers.informer(kind).keys():  # noqa: SIM118
                    controller.enqueue(key)
        await self.settle(0.5)
        return list(self.transport.writes)

    def faults(self) -> int:
        return sum(item.statistics().errors for item in self.serving.controllers)

    # --- objects --------------------------------------------------------------------------------------

    async def deploy(self, name: str = "hello", image: str = "hello:1", **extra: Any) -> Service:
        document = {
            "metadata": {"name": name, "namespace": NS, **extra.pop("metadata", {})},
            "spec": {
                "template": {
                    "metadata": {"annotations": extra.pop("annotations", {})},
                    "spec": {"containers": [{"image": image}], **extra.pop("template", {})},
                },
                **extra,
            },
        }
        return await self.client.create(SERVICE, msgspec.convert(document, Service))

    async def set_image(self, image: str, name: str = "hello", **template: Any) -> None:
        container = {"name": "user-container", "image": image}
        container["readinessProbe"] = {"successThreshold": 1, "tcpSocket": {"port": 0}}
        spec = {"template": {**template, "spec": {"containers": [container]}}}
        await self.client.patch(SERVICE, Key(NS, name), {"spec": spec})

    async def set_traffic(self, *targets: dict[str, Any], name: str = "hello") -> None:
        await self.client.patch(SERVICE, Key(NS, name), {"spec": {"traffic": list(targets)}})

    async def configure(self, name: str, **data: str) -> None:
        data = {key.replace("_", "-"): value for key, value in data.items()}
        metadata = ObjectMeta(name=f"config-{name}", namespace="knative-serving")
        await self.client.create(CONFIG_MAP, ConfigMap(metadata=metadata, data=data))

    async def service(self, name: str = "hello") -> Service:
        return await self.client.get(SERVICE, Key(NS, name))

    async def get(self, kind, name):
        return await self.client.get(kind, Key(NS, name))

    async def pods(self) -> list[Pod]:
        return list(await self.client.list(POD, NS))

    async def events(self) -> list[tuple[str, str]]:
        return [(item.reason, item.message) for item in await self.client.list(EVENT, NS)]

    async def condition(self, kind, name, condition="Ready") -> tuple[str, str, str] | None:
        subject = await self.get(kind, name)
        found = find_condition(subject.status.conditions if subject.status else (), condition)
        return (found.status, found.reason, found.message) if found else None

    async def until_ready(self, name: str = "hello", within_s: float = 10) -> Service:
        async with asyncio.timeout(within_s):
            while True:
                service = await self.service(name)
                status = service.status
                if (
                    status is not None
                    and status.observed_generation == service.metadata.generation
                    and (ready := find_condition(status.conditions, "Ready"))
                    and ready.status == "True"
                ):
                    return service
                await asyncio.sleep(0.01)

    def replicas(self, revision: str = "hello-00001") -> int:
        entry = self.table.revision(f"{NS}/{revision}")
        return len(entry.replicas) if entry else -1

    def split(
        self, host: str = "hello.default.localhost", ingress: str = "hello"
    ) -> dict[str, int]:
        entry = self.table.ingress(f"{NS}/{ingress}")
        for rule in entry.rules if entry else ():
            if host in rule.hosts:
                return {
                    item.revision.removeprefix(f"{NS}/"): item.percent
                    for item in rule.paths[0].splits
                }
        return {}

    def traffic(
        self, concurrency: float, revision: str = "hello-00001", *, queued: int = 0
    ) -> None:
        item = messages.RevisionStats(
            revision=f"{NS}/{revision}", concurrency=concurrency, requests=1, queued=queued
        )
        self.serving.autoscaler.reported(messages.Stats(interval_ms=1000, revisions=(item,)))

    def demand(self, revision: str = "hello-00001") -> None:
        self.serving.autoscaler.demanded(messages.Demand(revision=f"{NS}/{revision}", queued=1))


__all__ = ["CORE_SERVICE", "DEPLOYMENT", "NS", "World"]
