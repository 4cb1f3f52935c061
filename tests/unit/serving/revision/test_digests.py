"""Resolving images in the background."""

import asyncio
import random

import looptime
import msgspec
import pytest

from knarr.kits.clock import ManualClock
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.config.deployment import DeploymentConfig
from knarr.resources.serving.revision import Revision
from knarr.serving.revision.digests import PARALLEL, BackgroundDigests, registry_of

CONFIG = DeploymentConfig()


def revision(*images, name="r"):
    return msgspec.convert(
        {
            "metadata": {"namespace": "ns", "name": name},
            "spec": {
                "containers": [{"image": item} for item in images],
            },
        },
        Revision,
    )


class Resolver:
    def __init__(self):
        self.asked, self.running, self.most = [], 0, 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def resolve(self, reference, namespace, pull_secrets):
        self.asked.append((reference, namespace, pull_secrets))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if "absent" in reference:
            raise NotFound("manifest unknown")
        return f"{reference}@sha256:1"


class World:
    def __init__(self):
        self.clock, self.resolver, self.told = ManualClock(), Resolver(), []
        self.digests = BackgroundDigests(self.resolver, self.clock, random.Random(1))
        self.digests.on_answer(self.told.append)

    async def settled(self, subject):
        found = self.digests.lookup(subject, CONFIG)
        while found is None:
            await asyncio.sleep(0)
            found = self.digests.lookup(subject, CONFIG)
        return found


@pytest.fixture
async def world():
    found = World()
    async with found.digests:
        yield found


async def test_an_answer_comes_later_and_stands(world):
    subject = revision("a", "b", "a")
    assert world.digests.lookup(subject, CONFIG, ("secret",)) is None
    found = await world.settled(subject)
    assert found.by_reference == {"a": "a@sha256:1", "b": "b@sha256:1"}
    assert world.told == [Key("ns", "r")]
    assert world.digests.lookup(subject, CONFIG) == found
    assert world.resolver.asked == [("a", "ns", ("secret",)), ("b", "ns", ("secret",))]
    world.digests.forget(subject.key)
    assert world.digests.lookup(subject, CONFIG) is None


async def test_what_needs_no_asking(world):
    subject = revision("x@sha256:2", "dev.local/y:1", "kind.local/z")
    assert world.digests.lookup(subject, CONFIG).by_reference == {
        "x@sha256:2": "x@sha256:2",
        "dev.local/y:1": "",
        "kind.local/z": "",
    }
    assert world.resolver.asked == []


async def test_a_failure_stands_until_its_back_off_is_over(world):
    subject = revision("absent")
    for again_s in (1, 2, 4):
        found = await world.settled(subject)
        assert (found.failed, found.cause) == ("absent", "manifest unknown")
        assert world.digests.again_in_s(subject.key) == again_s
        world.clock.advance(again_s - 0.5)
        assert world.digests.lookup(subject, CONFIG) == found
        world.clock.advance(0.5)
        assert world.digests.lookup(subject, CONFIG) is None
    assert len(world.resolver.asked) == 3


async def test_only_so_many_at_a_time(world):
    world.resolver.gate.clear()
    subjects = [revision("a", name=f"r{number}") for number in range(3 * PARALLEL)]
    for subject in subjects:
        world.digests.lookup(subject, CONFIG)
    for _ in range(10):
        await asyncio.sleep(0)
    assert world.resolver.running == PARALLEL
    world.resolver.gate.set()
    for subject in subjects:
        await world.settled(subject)
    assert world.resolver.most == PARALLEL


def test_a_registry_that_does_not_answer():
    async def story():
        world = World()
        world.resolver.gate.clear()
        async with world.digests:
            world.digests.lookup(revision("slow"), CONFIG)
            await asyncio.sleep(11)
            return world.digests.lookup(revision("slow"), CONFIG)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        assert runner.run(story()).cause == "no answer within 10 s"


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("app", "index.docker.io"),
        ("library/app:1", "index.docker.io"),
        ("ghcr.io/a/b", "ghcr.io"),
        ("localhost/a", "localhost"),
        ("localhost:5000/a", "localhost:5000"),
        ("dev.local/x", "dev.local"),
    ],
)
def test_the_registry_in_a_reference(reference, registry):
    assert registry_of(reference) == registry
