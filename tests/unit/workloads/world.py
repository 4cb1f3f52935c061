"""The real API server on a memory store with the real workload controllers; the test plays the node.

Time is the event loop's, and it jumps: ``settle`` lets one second pass, in which everything that can happen
does.
"""

import asyncio
import datetime as dt
import random
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from knarr.apiserver.definitions import Definitions
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.kits.clock import format_timestamp
from knarr.kube.client import Client
from knarr.kube.events import EventRecorder
from knarr.kube.factory import InformerFactory
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apps.deployment import DEPLOYMENT, Deployment, DeploymentSpec
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet, ReplicaSetSpec
from knarr.resources.catalog import KINDS
from knarr.resources.core.container import Container, ResourceRequirements
from knarr.resources.core.namespace import NAMESPACE, Namespace
from knarr.resources.core.node import NODE, Node, NodeStatus
from knarr.resources.core.pod import POD, Pod, PodStatus
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.kind import UserInfo
from knarr.store.store import Store
from knarr.workloads.controllers import Environment, build_workload_controllers

replace = msgspec.structs.replace
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


class LoopClock:
    """Wall time that moves with the event loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.monotonic())


class Counting:
    """A transport that remembers what was written, Events excepted, and can refuse on request."""

    def __init__(self, inner: InProcessTransport) -> None:
        self._inner = inner
        self.writes: list[str] = []
        self.refuse: dict[str, Exception] = {}

    async def request(self, method, path, **arguments):
        if method != "GET" and "/events" not in path:
            self.writes.append(f"{method} {path}")
            for part, error in self.refuse.items():
                if part in self.writes[-1]:
                    raise error
        return await self._inner.request(method, path, **arguments)

    def watch(self, path, *, query):
        return self._inner.watch(path, query=query)


class Tokens:
    """Signs nothing."""

    async def issue_legacy(self, account: Key, uid: str, secret: str) -> str:
        return f"{account} {uid} {secret}"


class World:
    """Everything there is, and shortcuts to look at it and to change it."""

    def __init__(self, *, definitions: bool = False) -> None:
        self._definitions = definitions
        self._stack = AsyncExitStack()
        self.clock = LoopClock()
        self.rng = random.Random(42)

    async def __aenter__(self) -> "World":
        enter = self._stack.enter_async_context
        store = await enter(Store(None))
        handler = Handler(store, KINDS, self.clock, self.rng)
        user = UserInfo(name="system:admin", groups=("system:masters",))
        inner = InProcessTransport(handler, user)
        self.client = Client(inner)
        self.transport = Counting(inner)
        if self._definitions:
            made = Definitions(store, handler.registry, self.client, self.clock, self.rng, KINDS)
            await enter(made)
        client = Client(self.transport)
        recorder = await enter(EventRecorder(client, "test", clock=self.clock, rng=self.rng))
        self.informers = InformerFactory(client, clock=self.clock, rng=self.rng)
        self.controllers = build_workload_controllers(
            Environment(
                client=client,
                informers=self.informers,
                clock=self.clock,
                rng=self.rng,
                recorder=recorder,
                ca_pem=CA,
                tokens=Tokens(),
            )
        )
        await self.client.create(NAMESPACE, Namespace(metadata=ObjectMeta(name="ns")))
        await enter(self.informers)
        for controller in self.controllers:
            await enter(controller)
        await self.settle()
        self.transport.writes.clear()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.__aexit__(*error)

    async def settle(self) -> None:
        await asyncio.sleep(1)

    async def again(self) -> list[str]:
        """Every controller looks at every object once more; what they wrote."""
        before = len(self.transport.writes)
        for controller in self.controllers:
            for informer in self.informers.informers:
                for key in informer.keys():  # noqa: SIM118 - an informer is no mapping
                    controller.enqueue(key)
        await self.settle()
        return self.transport.writes[before:]

    def errors(self) -> int:
        return sum(controller.statistics().errors for controller in self.controllers)

    # --- the node -----------------------------------------------------------------------------------

    async def add_node(self, cpu: str = "4", memory: str = "8Gi", pods: str = "110") -> None:
        await self.client.create(NODE, Node(metadata=ObjectMeta(name="node")))
        await self.update_node(cpu=cpu, memory=memory, pods=pods)
        await self.settle()
        self.transport.writes.clear()

    async def update_node(self, *, ready: bool = True, **allocatable: str) -> None:
        node = await self.client.get(NODE, Key("", "node"))
        status = NodeStatus(
            allocatable=allocatable or (node.status.allocatable if node.status else None),
            conditions=(Condition(type="Ready", status="True" if ready else "False"),),
        )
        await self.client.update_status(NODE, replace(node, status=status))

    async def report(self, pod: Pod, *, ready: bool = True, phase: str = "Running") -> None:
        """The node says how a Pod is."""
        pod = await self.client.get(POD, pod.key)
        old = pod.status or PodStatus()
        moment = format_timestamp(self.clock.wall())
        conditions = (
            *tuple(item for item in old.conditions if item.type != "Ready"),
            Condition(
                type="Ready", status="True" if ready else "False", last_transition_time=moment
            ),
        )
        status = replace(old, phase=phase, conditions=conditions)
        await self.client.update_status(POD, replace(pod, status=status))

    async def run_pods(self) -> None:
        """The node starts what is bound and ends what is terminating, until nothing changes."""
        for _ in range(40):
            changed = False
            for pod in await self.pods():
                if pod.deleting:
                    await self.client.delete(POD, pod.key, grace_s=0)
                elif pod.spec.node_name and (pod.status is None or pod.status.phase == "Pending"):
                    await self.report(pod)
                else:
                    continue
                changed = True
            await self.settle()
            if not changed:
                return
        raise AssertionError("the world does not come to rest")

    # --- objects ------------------------------------------------------------------------------------

    async def pods(self) -> list[Pod]:
        return list(await self.client.list(POD, "ns"))

    async def replica_sets(self) -> list[ReplicaSet]:
        return list(await self.client.list(REPLICA_SET, "ns"))

    async def deployment(self) -> Deployment:
        return await self.client.get(DEPLOYMENT, Key("ns", "app"))

    async def deploy(self, **spec: Any) -> Deployment:
        deployment = Deployment(
            metadata=ObjectMeta(name="app", namespace="ns"),
            spec=DeploymentSpec(selector=SELECTOR, template=template(), **spec),
        )
        created = await self.client.create(DEPLOYMENT, deployment)
        await self.settle()
        return created

    async def set_image(self, image: str) -> None:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
        await self.client.patch(DEPLOYMENT, Key("ns", "app"), patch)
        await self.settle()

    async def patch_deployment(self, **spec: Any) -> None:
        await self.client.patch(DEPLOYMENT, Key("ns", "app"), {"spec": spec})
        await self.settle()

    async def replicate(self, replicas: int, **spec: Any) -> ReplicaSet:
        subject = ReplicaSet(
            metadata=ObjectMeta(name="rs", namespace="ns"),
            spec=ReplicaSetSpec(replicas=replicas, selector=SELECTOR, template=template(), **spec),
        )
        created = await self.client.create(REPLICA_SET, subject)
        await self.settle()
        return created


SELECTOR = LabelSelector(match_labels={"app": "x"})


def template(image: str = "one", cpu: str = "") -> PodTemplateSpec:
    requests = ResourceRequirements(requests={"cpu": cpu}) if cpu else None
    return PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "x"}),
        spec=PodSpec(containers=(Container(name="c", image=image, resources=requests),)),
    )


def pod(name: str, cpu: str = "", **metadata: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="ns", **metadata), spec=template(cpu=cpu).spec
    )
