"""How reconcilers write: a child as its owner wants it, and a status, each only when it differs.

A status whose Ready condition is Unknown is news of progress, and mostly outdated a few milliseconds later.
It is held back for ``PATIENCE_S``: what becomes Ready (or fails) within that time costs one write instead
of four, and every write is an fsync and a wake-up of the whole chain of owners.

Unlike ``Client.apply`` a child's labels and annotations become exactly the desired ones: what a user
removes from a Service vanishes from its Configuration and Route too. Annotations that the API server or
another controller owns are named in ``keep``. Every answer goes into the informer at once, so that the
next pass does not act on the world before the write.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from knarr.kits.clock import Clock
from knarr.kube.apply import plan_apply
from knarr.kube.client import Client, NotOwned
from knarr.kube.controller import Result
from knarr.kube.informer import Informer
from knarr.meta.conditions import find_condition
from knarr.meta.errors import AlreadyExists, Terminal
from knarr.meta.objects import Resource, controller_of, owner_reference
from knarr.resources.kind import Admission, Kind, UserInfo
from knarr.resources.knative import Status

PATIENCE_S = 0.05
_REMEMBERED = 4096
_HAIR_S = 0.001

T = TypeVar("T", bound=Resource)


@dataclass(frozen=True, slots=True)
class Ensured:
    """What a call to ``ensure_child`` did."""

    created: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class _Right:
    """A child's content that is what was desired."""

    desired: Resource
    content: tuple[Any, ...]


def _content(child: Resource) -> tuple[Any, ...]:
    meta = child.metadata
    return meta.labels, meta.annotations, getattr(child, "spec", None)


class Writer:
    """Writes on behalf of all Serving reconcilers.

    Args:
        client: to the API.
        clock: measures patience (monotonic).
    """

    __slots__ = ("_clock", "_held", "_right", "client")

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client = client
        self._clock = clock
        # Since when a status is held back, by uid. Bounded: the oldest is forgotten, and then waits anew.
        self._held: OrderedDict[str, float] = OrderedDict()
        # What children were found right for, by uid: comparing structs is much cheaper than documents.
        self._right: OrderedDict[str, _Right] = OrderedDict()

    async def ensure_child(
        self,
        informer: Informer[T],
        desired: T,
        owner: Resource,
        *,
        keep: frozenset[str] = frozenset(),
    ) -> tuple[T, Ensured]:
        """Make a child exist as desired; the child as stored and what was done.

        Args:
            informer: of the child's kind.
            desired: name, namespace, labels, annotations and spec, without owner.
            owner: becomes the controller.
            keep: annotations that stay although they are not desired.

        Raises:
            NotOwned: the name is taken by an object that ``owner`` does not control.
            Conflict: the cache was stale.
        """
        kind = informer.kind
        metadata = msgspec.structs.replace(
            desired.metadata, owner_references=(owner_reference(owner),)
        )
        desired = msgspec.structs.replace(desired, metadata=metadata)
        current = informer.get(desired.key)
        if current is None:
            try:
                created = await self.client.create(kind, desired)
            except AlreadyExists:
                current = await self.client.get(kind, desired.key)
            else:
                informer.observe(created)
                return created, Ensured(created=True, changed=True)
        require_controller(kind, current, owner)
        found = _Right(desired, _content(current))
        if self._right.get(current.metadata.uid) == found:
            return current, Ensured(created=False, changed=False)
        patch = self._patch(kind, current, desired, keep)
        if not patch:
            self._right[current.metadata.uid] = found
            if len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)
            return current, Ensured(created=False, changed=False)
        patched = await self.client.patch(kind, desired.key, patch)
        informer.observe(patched)
        return patched, Ensured(created=False, changed=True)

    def _patch(self, kind: Kind[T], current: T, desired: T, keep: frozenset[str]) -> dict[str, Any]:
        exact = not kind.builtin
        if exact and kind.default is not None:
            admission = Admission(operation="UPDATE", user=UserInfo(name=""), old=current)
            defaulted = kind.default(desired, admission)
            desired = msgspec.structs.replace(defaulted, metadata=desired.metadata)
        codec = self.client.codec
        patch = plan_apply(codec.document(current), codec.document(desired), exact=exact)
        removed = {
            "labels": _extra(current.metadata.labels, desired.metadata.labels, frozenset()),
            "annotations": _extra(current.metadata.annotations, desired.metadata.annotations, keep),
        }
        if exact and any(removed.values()):
            metadata = patch.setdefault("metadata", {})
            metadata["resourceVersion"] = current.metadata.resource_version
            for field, keys in removed.items():
                if keys:
                    metadata[field] = {**metadata.get(field, {}), **dict.fromkeys(keys)}
        return patch

    async def write_status(
        self, informer: Informer[T], subject: T, status: Status, again_in_s: float | None = None
    ) -> Result:
        """Store a status when it differs; the result for the controller.

        Args:
            informer: of the kind.
            subject: as it was read.
            status: what it should be.
            again_in_s: when the reconciler wants to look again anyway.

        Raises:
            Conflict: the object changed since ``subject`` was read.
        """
        uid = subject.metadata.uid
        if again_in_s is not None:
            # Wall clocks are coarser than timers: never come back a hair before the time.
            again_in_s = max(again_in_s, 0.0) + _HAIR_S
        if getattr(subject, "status", None) == status:
            self._held.pop(uid, None)
            return Result(requeue_after_s=again_in_s)
        left_s = self._patience_s(uid, status)
        if left_s > _HAIR_S:
            return Result(requeue_after_s=min(left_s, left_s if again_in_s is None else again_in_s))
        self._held.pop(uid, None)
        changed = msgspec.structs.replace(subject, status=status)
        stored = await self.client.update_status(informer.kind, changed)
        informer.observe(stored)
        return Result(requeue_after_s=again_in_s)

    def _patience_s(self, uid: str, status: Status) -> float:
        """Seconds for which a status may still be held back; 0 for news that matters."""
        ready = find_condition(status.conditions, "Ready")
        if ready is not None and ready.status != "Unknown":
            return 0.0
        now = self._clock.monotonic()
        since = self._held.setdefault(uid, now)
        if len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)
        return since + PATIENCE_S - now


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run writes at the same time, so that they share one commit of the store.

    Raises:
        Exception: what the first of them raised; one that names a reason for users comes first.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        errors = sorted(failed.exceptions, key=lambda error: not isinstance(error, Terminal))
        raise errors[0] from None


def _extra(
    have: Mapping[str, str] | None, want: Mapping[str, str] | None, keep: frozenset[str]
) -> list[str]:
    return [key for key in have or () if key not in (want or {}) and key not in keep]


def require_controller(kind: Kind[T], child: T, owner: Resource) -> None:
    """Refuse to touch what is not ours.

    Raises:
        NotOwned: ``owner`` does not control ``child``.
    """
    controller = controller_of(child)
    if controller is None or controller.uid != owner.metadata.uid:
        raise NotOwned(
            "NotOwned",
            f'There is an existing {kind.kind} "{child.metadata.name}" that we do not own.',
        )
