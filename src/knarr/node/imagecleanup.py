"""Removes images that nothing needs: every five minutes what the policy says, and at people's word."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from knarr.kits.clock import Clock
from knarr.node.images.errors import ImageError, StoreBusy
from knarr.node.images.retention import (
    PRUNE,
    PRUNE_ALL,
    Disk,
    Policy,
    RetentionPlan,
    plan_retention,
)
from knarr.node.images.store import ImageStore
from knarr.node.sandbox import Sandbox
from knarr.resources.core.podspec import PodSpec

LOG = logging.getLogger(__name__)
_PAUSE_S = 300.0
_FULL_SWEEP_S = 86_400.0
_LOCK_WAIT_S = 5.0
_TRIES = 5


class PruneReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What went.

    Attributes:
        references: that are forgotten.
        images, layers: how many.
        blob_bytes: freed by downloads; unpacked layers come on top.
    """

    references: tuple[str, ...] = ()
    images: int = 0
    layers: int = 0
    blob_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Needs:
    """What must stay: images by reference, and by digest."""

    names: frozenset[str]
    digests: frozenset[str]


class ImageCleanup:
    """Gives the store's garbage collection its occasions.

    Args:
        store: of the images.
        needs: what must stay; asked again before anything goes.
        disk: asks for the state of the store's file system.
        clock: for ages.
        sleep: pauses that tests can shorten.
    """

    def __init__(
        self,
        store: ImageStore,
        needs: Callable[[], Needs],
        disk: Callable[[], Disk],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._needs = needs
        self._disk = disk
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()

    async def run(self, policy: Policy | None = None) -> None:
        """Clean up until cancelled; what cannot be removed now is tried again later."""
        swept = self._clock.monotonic()
        while True:
            sweep = self._clock.monotonic() - swept > _FULL_SWEEP_S
            try:
                await self._collect(policy or Policy(), sweep=sweep)
            except (ImageError, OSError) as error:
                LOG.warning("images are not cleaned up: %s", error)
            else:
                swept = self._clock.monotonic() if sweep else swept
            await self._sleep(_PAUSE_S)

    async def prune(self, *, everything: bool) -> PruneReport:
        """Remove what no reference names; with ``everything`` all that is not used and can be pulled again.

        Raises:
            StoreBusy: pulls or builds do not end.
        """
        return await self._collect(PRUNE_ALL if everything else PRUNE, sweep=True)

    async def _collect(self, policy: Policy, *, sweep: bool) -> PruneReport:
        """One pass; without ``sweep`` unfinished downloads are only looked for when an image goes."""
        async with self._lock:
            plan, in_use = await self._judge(policy)
            if not plan.doomed and not sweep:
                return PruneReport()
            for reference in plan.forget:
                self._store.remove(reference)
            kept = in_use | plan.spare
            done = await self._store.collect_garbage(kept, wait_s=_LOCK_WAIT_S)
        report = PruneReport(
            references=plan.forget,
            images=done.images,
            layers=done.layers,
            blob_bytes=done.blob_bytes,
        )
        if done.images or done.layers:
            LOG.info(
                "removed %d images and %d layers, %d MiB of downloads: %s",
                done.images, done.layers, done.blob_bytes >> 20, ", ".join(plan.forget) or "unnamed",
            )  # fmt: skip
        return report

    async def _judge(self, policy: Policy) -> tuple[RetentionPlan, frozenset[str]]:
        """The plan for a moment in which nobody began to use another image, and what was in use then."""
        store = self._store
        for _ in range(_TRIES):
            needs = self._needs()
            in_use = await asyncio.to_thread(_resolved, store, needs)
            images = await asyncio.to_thread(store.inventory, in_use)
            now = self._clock.wall().timestamp()
            plan = plan_retention(images, in_use, self._disk(), now, policy)
            if self._needs() == needs:
                return plan, in_use
        raise StoreBusy("Pods come and go too fast to tell which images are in use; try again")


def disk_of(directory: Path) -> Disk:
    """The file system of a directory."""
    stats = os.statvfs(directory)
    total = stats.f_blocks * stats.f_frsize
    return Disk(total=total, used=total - stats.f_bavail * stats.f_frsize)


def needs_of(specs: Iterable[PodSpec], sandboxes: Iterable[Sandbox]) -> Needs:
    """The images that Pods and templates name, and those that sandboxes were made from."""
    names = frozenset(
        container.image for spec in specs for container in (*spec.init_containers, *spec.containers)
    )
    return Needs(names, frozenset(_running(sandboxes)))


def _running(sandboxes: Iterable[Sandbox]) -> Iterator[str]:
    for sandbox in sandboxes:
        for run in (*sandbox.runs.values(), *sandbox.previous.values()):
            _, _, digest = run.image_id.partition("@")
            if digest:
                yield digest


def _resolved(store: ImageStore, needs: Needs) -> frozenset[str]:
    """Digests of everything needed; blocks for a small file per name."""
    found = set(needs.digests)
    for name in needs.names:
        try:
            image = store.resolve(name)
        except ImageError:
            continue
        if image is not None:
            found.add(image.digest)
    return frozenset(found)
