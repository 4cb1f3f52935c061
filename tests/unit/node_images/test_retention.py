"""Which images go, and that those in use never do."""

import asyncio
import datetime as dt
import os
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.kits.clock import ManualClock
from knarr.node.imagecleanup import ImageCleanup, Needs, needs_of
from knarr.node.images.errors import StoreBusy
from knarr.node.images.retention import (
    PRUNE,
    PRUNE_ALL,
    Disk,
    Policy,
    StoredImage,
    plan_retention,
)
from knarr.node.images.store import ImageStore, Pulled
from knarr.resources.core.podspec import PodSpec

DAY = 86_400.0
NOW = 100 * DAY
ROOMY, FULL = Disk(1000, 500), Disk(1000, 900)


def image(name: str, age_days: float, *, named=True, pullable=True, size=50) -> StoredImage:
    references = (f"r.test/{name}:1",) if named else ()
    return StoredImage(f"sha256:{name}", references, pullable, size, NOW - age_days * DAY)


def doomed(images, disk=ROOMY, in_use=(), policy=Policy()) -> list[str]:  # noqa: B008 - frozen
    used = {f"sha256:{name}" for name in in_use}
    plan = plan_retention(images, used, disk, NOW, policy)
    return [digest.removeprefix("sha256:") for digest in plan.doomed]


def test_pulled_images_go_after_two_weeks_without_use():
    images = [image("old", 15), image("new", 13), image("used", 90)]
    assert doomed(images, in_use=["used"]) == ["old"]


def test_what_was_built_here_stays_while_it_has_a_name():
    built = [image("built", 400, pullable=False), image("former", 1, named=False, pullable=False)]
    assert doomed(built) == ["former"]
    assert doomed(built, FULL) == ["former"]


def test_a_full_disk_takes_the_longest_unused_first_and_not_more_than_needed():
    images = [image("c", 1), image("a", 3), image("b", 2), image("d", 0.01)]
    assert doomed(images, FULL) == ["a", "b"]
    assert doomed(images, Disk(1000, 851)) == ["a", "b"]
    assert doomed(images, Disk(1000, 850)) == []


def test_what_somebody_may_be_about_to_use_is_spared():
    fresh = image("fresh", 0.01, named=False)
    plan = plan_retention([fresh], set(), FULL, NOW, Policy())
    assert (plan.doomed, plan.spare) == ((), {"sha256:fresh"})


def test_pruning_by_hand_does_not_wait():
    images = [image("fresh", 0, named=False), image("named", 0), image("built", 0, pullable=False)]
    assert doomed(images, FULL, policy=PRUNE) == ["fresh"]
    assert doomed(images, FULL, policy=PRUNE_ALL) == ["fresh", "named"]
    assert doomed(images, FULL, policy=PRUNE_ALL, in_use=["named", "fresh"]) == []


@given(
    st.lists(
        st.builds(
            image, st.text("abc", min_size=1, max_size=3), st.floats(0, 50), named=st.booleans(),
            pullable=st.booleans(), size=st.integers(1, 500),
        ),
        max_size=8, unique_by=lambda one: one.digest,
    ),
    st.sets(st.text("abc", min_size=1, max_size=3)), st.integers(0, 1000),
    st.sampled_from([Policy(), PRUNE, PRUNE_ALL]),
)  # fmt: skip
def test_nothing_in_use_ever_goes(images, in_use, used, policy):
    digests = {f"sha256:{name}" for name in in_use}
    plan = plan_retention(images, digests, Disk(1000, used), NOW, policy)
    assert not digests & set(plan.doomed)
    by_digest = {one.digest: one for one in images}
    assert all(by_digest[one].pullable or not by_digest[one].references for one in plan.doomed)
    names = {name for one in plan.doomed for name in by_digest[one].references}
    assert set(plan.forget) == names


# --- over a real store ----------------------------------------------------------------------------


class Registry:
    """Gives out one image after the other."""

    def __init__(self, make) -> None:
        self.make = make
        self.count = 0

    async def pull(self, reference, store, credentials, progress):
        self.count += 1
        layer = self.make.tar((f"file-{self.count}", b"x" * 100))
        manifest, config, blobs = self.make.image(layer)
        for data in (config, *blobs):
            store.blobs.put(data)
        return Pulled(manifest, ())


class World:
    def __init__(self, root, make) -> None:
        self.store = ImageStore(root, puller=Registry(make), durable=False)
        self.clock = ManualClock(dt.datetime.now(dt.UTC))
        self.names: set[str] = set()
        self.needed = 0
        self.disk = ROOMY
        self.cleanup = ImageCleanup(
            self.store, self.needs, lambda: self.disk, self.clock, self.sleep
        )

    def needs(self) -> Needs:
        self.needed += 1
        return Needs(frozenset(self.names), frozenset())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    @property
    def present(self) -> list[str]:
        return [record.reference for record in self.store.list()]


@pytest.fixture
def world(tmp_path, make) -> World:
    return World(tmp_path / "images", make)


async def test_a_running_cleanup_removes_what_was_not_used(world):
    for name in ("kept", "idle"):
        await world.store.ensure(f"r.test/{name}:1", policy="IfNotPresent")
    world.names = {"r.test/kept:1"}
    task = asyncio.ensure_future(world.cleanup.run())
    try:
        async with asyncio.timeout(5):
            while not world.needed:
                await asyncio.sleep(0.001)
            assert len(world.present) == 2
            # Use is remembered by the file system's clock, which no test moves.
            past = world.clock.wall().timestamp() - 20 * DAY
            for record in (world.store.root / "images").iterdir():
                os.utime(record, (past, past))
            while len(world.present) == 2:
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
    assert world.present == ["r.test/kept:1"]
    kept = world.store.resolve("r.test/kept:1")
    assert (await world.store.layers(kept)).lower_dirs[0].is_dir()
    assert sum(1 for _ in world.store.blobs) == 3


async def test_pruning_tells_what_went(world, make, tmp_path):
    await world.store.ensure("r.test/pulled:1", policy="IfNotPresent")
    manifest, config, blobs = make.image(make.tar(("loaded", b"1")))
    layout = make.layout(tmp_path / "layout", ("r.test/loaded:1", manifest, config, blobs, None))
    await world.store.load(layout)
    assert (await world.cleanup.prune(everything=False)).images == 0
    world.names = {"r.test/pulled:1"}
    assert (await world.cleanup.prune(everything=True)).images == 0
    world.names = set()
    report = await world.cleanup.prune(everything=True)
    assert (report.images, report.references) == (1, ("r.test/pulled:1",))
    assert report.blob_bytes > 0
    assert world.present == ["r.test/loaded:1"]
    world.store.remove("r.test/loaded:1")
    assert (await world.cleanup.prune(everything=False)).images == 1
    assert world.present == []


async def test_while_pods_come_and_go_nothing_is_removed(world):
    await world.store.ensure("r.test/pulled:1", policy="IfNotPresent")
    rng = random.Random(1)

    def restless() -> Needs:
        return Needs(frozenset({str(rng.random())}), frozenset())

    world.cleanup._needs = restless
    with pytest.raises(StoreBusy, match="come and go"):
        await world.cleanup.prune(everything=True)
    assert world.present == ["r.test/pulled:1"]


def test_needs_are_names_of_templates_and_digests_of_sandboxes():
    from types import SimpleNamespace

    spec = msgspec.convert(
        {
            "containers": [{"name": "a", "image": "x:1"}],
            "initContainers": [{"name": "i", "image": "y:1"}],
        },
        PodSpec,
    )
    run = SimpleNamespace(image_id="knarr.local/app@sha256:abc")
    before = SimpleNamespace(image_id="")
    sandbox = SimpleNamespace(runs={"a": run}, previous={"a": before})
    assert needs_of([spec, spec], [sandbox]) == Needs(
        frozenset({"x:1", "y:1"}), frozenset({"sha256:abc"})
    )
