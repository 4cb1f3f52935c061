"""Activations and the Pods that follow them, with a sandbox that is only a port of this machine."""

import asyncio
import contextlib
import random
import socket
from types import SimpleNamespace

import msgspec
import pytest

from knarr.dataplane.messages import Activate
from knarr.kits.clock import SystemClock
from knarr.kube.cache import Change
from knarr.meta.errors import AlreadyExists, Forbidden, Unavailable
from knarr.node import activation
from knarr.node.activation import Activator
from knarr.node.record import Identity
from knarr.node.revisions import RevisionIndex
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.resources.core.pod import Pod

REVISION = "ns/rev"


def replica_set(port: int, **template) -> ReplicaSet:
    labels = {"serving.knative.dev/revision": "rev"}
    container = {"name": "c", "image": "i", "ports": [{"containerPort": port}]}
    spec = {"containers": [container], **template}
    return msgspec.convert(
        {
            "metadata": {"name": "rs", "namespace": "ns", "uid": "rs-uid", "labels": labels},
            "spec": {"replicas": 0, "template": {"metadata": {"labels": labels}, "spec": spec}},
        },
        ReplicaSet,
    )


def pod_of(owner: ReplicaSet, name: str = "rs-slow") -> Pod:
    reference = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "rs",
        "uid": "rs-uid",
        "controller": True,
    }
    return msgspec.convert(
        {"metadata": {"name": name, "namespace": "ns", "ownerReferences": [reference]}}, Pod
    )


class World:
    """Everything around an activator."""

    def __init__(self, *, parked: bool = True, listens: bool = True) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        if not listens:
            self.listener.close()
        self.owner = replica_set(self.port)
        self.index = RevisionIndex(lambda _: None)
        self.index.changed(Change(self.owner.key, None, self.owner))
        self.parked = [self.sandbox("parked")] if parked else []
        self.made: list[SimpleNamespace] = []
        self.removed: list[str] = []
        self.created: list[Pod] = []
        self.answers: list[Exception | None] = []
        self.running: SimpleNamespace | None = None
        self.may_start = asyncio.Event()
        self.may_start.set()

    def sandbox(self, identifier: str) -> SimpleNamespace:
        run = SimpleNamespace(exit=None, started=False, container_id="x")
        return SimpleNamespace(
            id=identifier, address="127.0.0.1", runs={"c": run}, removing=False,
            identity=Identity(namespace="ns", name=f"rs-{identifier}"), record=SimpleNamespace(replica_set="rs-uid"),
        )  # fmt: skip

    # the parker
    def take(self, uid):
        return self.parked.pop() if uid == "rs-uid" and self.parked else None

    def own(self, pod):
        return None

    async def make_now(self, owner):
        await self.may_start.wait()
        self.made.append(self.sandbox(f"made-{len(self.made)}"))
        return self.made[-1]

    # the launcher, the host, the API, the informers
    async def start(self, sandbox, run):
        await self.may_start.wait()
        run.started = True

    async def remove(self, sandbox):
        sandbox.removing = True
        self.removed.append(sandbox.id)

    async def create(self, kind, pod):
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.created.append(pod)
        return pod

    def observe(self, pod):
        self.running = self.sandbox("observed")

    def get(self, key):
        return self.owner if key == self.owner.key else None

    @contextlib.asynccontextmanager
    async def activator(self):
        services = SimpleNamespace(
            client=self, host=self, launcher=self, clock=SystemClock(), rng=random.Random(1),
            node_name="node", sleep=lambda seconds: asyncio.sleep(min(seconds, 0.01)),
        )  # fmt: skip
        self.runtime = None
        found = Activator(self, self.index, self, self, lambda _: self.running)
        found.use(services)
        try:
            async with asyncio.timeout(5), found:
                yield found
        finally:
            self.listener.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(activation, "_OBJECT_DELAY_S", 0.05)


def message(number: int = 1, revision: str = REVISION) -> Activate:
    return Activate(id=number, revision=revision)


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_a_parked_sandbox_is_released_and_gets_its_pod_afterwards():
    world = World()
    async with world.activator() as activator:
        answer = await activator.activate(message(7))
        assert (answer.id, answer.replica.id, answer.replica.port) == (7, "parked", world.port)
        assert answer.timings.parked
        assert world.created == []
        assert activator.busy("rs-uid")
        await until(lambda: world.created)
        (pod,) = world.created
        assert pod.metadata.name == "rs-parked"
        assert pod.metadata.annotations["node.knarr.dev/sandbox"] == "parked"
        assert pod.metadata.owner_references[0].uid == "rs-uid"
        await until(lambda: not activator.busy("rs-uid"))


async def test_without_a_parked_one_a_sandbox_is_made():
    world = World(parked=False)
    async with world.activator() as activator:
        answer = await activator.activate(message())
        assert (answer.replica.id, answer.timings.parked) == ("made-0", False)


async def test_several_gateways_share_one_start():
    world = World()
    async with world.activator() as activator:
        answers = await asyncio.gather(*(activator.activate(message(n)) for n in range(3)))
        assert [one.id for one in answers] == [0, 1, 2]
        assert {one.replica.id for one in answers} == {"parked"}
        assert world.made == []


async def test_a_replica_that_runs_already_is_the_answer():
    world = World()
    world.running = world.sandbox("theirs")
    async with world.activator() as activator:
        answer = await activator.activate(message())
        assert answer.replica.id == "theirs"
        assert len(world.parked) == 1


async def test_a_pod_of_the_slow_path_takes_the_sandbox_that_starts():
    world = World()
    world.may_start.clear()
    async with world.activator() as activator:
        answer = asyncio.ensure_future(activator.activate(message()))
        await asyncio.sleep(0)
        claim = asyncio.ensure_future(activator.claim(pod_of(world.owner)))
        await asyncio.sleep(0.01)
        assert not claim.done()
        world.may_start.set()
        assert (await claim).id == "parked"
        assert (await answer).replica.id == "parked"
        await asyncio.sleep(0.1)
        assert world.created == []


async def test_a_pod_that_comes_too_late_waits_and_then_gets_its_own():
    world = World()
    world.answers = [Unavailable("away")] * 3
    async with world.activator() as activator:
        await activator.activate(message())
        await until(lambda: len(world.answers) < 3)
        assert await activator.claim(pod_of(world.owner)) is None
        await until(lambda: world.created)


async def test_without_an_activation_a_pod_takes_what_is_parked():
    world = World()
    async with world.activator() as activator:
        assert (await activator.claim(pod_of(world.owner))).id == "parked"
        assert await activator.claim(pod_of(world.owner)) is None
        assert await activator.claim(Pod()) is None


@pytest.mark.parametrize(
    ("error", "removed"), [(Forbidden("quota"), ["parked"]), (AlreadyExists("there"), [])]
)
async def test_a_refused_pod_object_ends_its_sandbox(error, removed):
    world = World()
    world.answers = [error]
    async with world.activator() as activator:
        await activator.activate(message())
        await until(lambda: not world.answers)
        await until(lambda: world.removed == removed)
        world.running = world.sandbox("x")


async def test_a_revision_that_is_gone_takes_its_sandbox_with_it():
    world = World()
    world.answers = [Unavailable("away")] * 1000
    async with world.activator() as activator:
        await activator.activate(message())
        world.index.changed(Change(world.owner.key, world.owner, None))
        await until(lambda: world.removed == ["parked"])


async def test_refusals_say_why():
    world = World(parked=False)
    world.owner = replica_set(world.port, initContainers=[{"name": "i", "image": "i"}])
    world.index.changed(Change(world.owner.key, world.owner, world.owner))
    async with world.activator() as activator:
        assert (await activator.activate(message(revision="ns/none"))).reason == "UnknownRevision"
        refused = await activator.activate(message())
        assert (refused.reason, "by way of its Pod" in refused.message) == ("StartFailed", True)


async def test_an_application_that_ends_is_no_replica():
    world = World(listens=False)
    async with world.activator() as activator:
        answer = asyncio.ensure_future(activator.activate(message()))
        await asyncio.sleep(0.01)
        taken = next(iter(activator._live.values())).sandbox
        taken.runs["c"].exit = object()
        refused = await answer
        assert (refused.reason, "ended" in refused.message) == ("NotReady", True)


async def test_a_started_sandbox_of_an_earlier_agent_gets_its_pod():
    world = World(parked=False)
    async with world.activator() as activator:
        assert activator.resume(world.sandbox("old"))
        await until(lambda: world.created)
        assert world.created[0].metadata.name == "rs-old"
        lost = world.sandbox("lost")
        lost.record.replica_set = "other"
        assert not activator.resume(lost)
