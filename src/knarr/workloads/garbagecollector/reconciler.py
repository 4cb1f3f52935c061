"""Carries out the garbage collector's decisions, one reconciler per kind over a shared graph.

A dependent is deleted only when its owner is certainly gone: seen to go, or denied by a request for it.
The caches of two kinds are not read at the same moment, so absence from a cache alone proves nothing.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import BY_OWNER, Add
from knarr.kube.informer import Informer
from knarr.meta.errors import Conflict, NotFound
from knarr.meta.objects import Key, OwnerReference, Resource
from knarr.resources.kind import Kind
from knarr.workloads.garbagecollector.graph import Graph
from knarr.workloads.garbagecollector.plan import (
    FOREGROUND,
    ORPHAN,
    Owner,
    blocks,
    plan_dependent,
    references_without,
    waits_for_collector,
)


class GarbageCollector:
    """Collects the objects of one kind, and serves those of it that wait for their dependents."""

    def __init__(self, client: Client, informer: Informer[Any], graph: Graph) -> None:
        self._client = client
        self._informer = informer
        self._kind: Kind[Any] = informer.kind
        self._graph = graph

    def watch(self, queues: Mapping[str, Add]) -> None:
        """Follow the kind's objects.

        Args:
            queues: by qualified plural, the queue of every kind's collector.
        """
        own = queues[self._kind.qualified_plural]

        def changed(change: Change[Any]) -> None:
            old, new = change.old, change.new
            if new is None:
                self._graph.remember_gone(self._kind, change.subject.metadata.uid)
                for kind, key in self._graph.dependent_keys(change.subject.metadata.uid):
                    queues[kind.qualified_plural](key)
            elif _concerns(old, new):
                own(change.key)
            if old is not None:
                self._wake_owners(old, new, queues)

        self._informer.add_handler(changed)

    def _wake_owners(self, old: Resource, new: Resource | None, queues: Mapping[str, Add]) -> None:
        """An owner that waits for its dependents has one less."""
        left = (new.metadata.owner_references or ()) if new is not None else ()
        for reference in old.metadata.owner_references or ():
            if reference in left:
                continue
            owner, informer = self._graph.find(reference), self._graph.informer_of(reference)
            if owner is not None and informer is not None and owner.deleting:
                queues[informer.kind.qualified_plural](owner.key)

    async def reconcile(self, key: Key) -> Result:
        """Decide about one object."""
        subject: Resource | None = self._informer.get(key)
        if subject is None:
            return DONE
        match waits_for_collector(subject):
            case "orphan":
                await self._orphan(subject)
            case "foregroundDeletion":
                await self._foreground(subject)
            case _:
                if not subject.deleting:
                    await self._dependent(self._informer, subject)
        return DONE

    async def _dependent(self, informer: Informer[Any], subject: Resource) -> None:
        """Collect an object of any kind, or relieve it of owners that are gone."""
        owners = {
            reference.uid: await self._state(informer.kind, subject, reference)
            for reference in subject.metadata.owner_references or ()
        }
        if not owners:
            return
        verdict = plan_dependent(
            subject, owners, has_dependents=self._graph.has_dependents(subject.metadata.uid)
        )
        if verdict.delete is not None:
            await self._delete(informer, subject, verdict.delete)
        elif verdict.drop:
            await self._drop_references(informer.kind, subject, verdict.drop)

    async def _state(self, kind: Kind[Any], subject: Resource, reference: OwnerReference) -> Owner:
        if self._graph.is_gone(reference):
            return Owner.ABSENT
        informer = self._graph.informer_of(reference)
        if informer is None:
            self._graph.note_stranger(reference, kind, subject.key)
            return Owner.FOREIGN
        namespace = subject.metadata.namespace
        owner = self._graph.find(reference)
        if owner is None:
            if informer.kind.namespaced and not namespace:
                return Owner.FOREIGN
            key = Key(namespace if informer.kind.namespaced else "", reference.name)
            owner = await self._ask(informer.kind, key, reference.uid)
        if owner is None:
            return Owner.ABSENT
        if informer.kind.namespaced and owner.metadata.namespace != namespace:
            return Owner.FOREIGN
        return Owner.WAITING if waits_for_collector(owner) == FOREGROUND else Owner.SOLID

    async def _ask(self, kind: Kind[Any], key: Key, uid: str) -> Resource | None:
        try:
            found: Resource = await self._client.get(kind, key)
        except NotFound:
            return None
        return found if found.metadata.uid == uid else None

    def _require_everything(self) -> None:
        """Dependents may be of any kind.

        Raises:
            Conflict: a kind has just come; the caller is to come again.
        """
        if not self._graph.complete:
            raise Conflict("not every kind is cached yet")

    async def _foreground(self, subject: Resource) -> None:
        """Delete all dependents; when none that blocks is left, let the object go."""
        self._require_everything()
        uid = subject.metadata.uid
        waiting = False
        for informer in self._graph.informers:
            for dependent in informer.by_index(BY_OWNER, uid):
                if not dependent.deleting:
                    await self._dependent(informer, dependent)
                if dependent.key in informer and blocks(dependent, uid):
                    waiting = True
        if not waiting:
            await self._release(subject, FOREGROUND)

    async def _orphan(self, subject: Resource) -> None:
        """Let the dependents live without their owner, then let the object go."""
        self._require_everything()
        uid = subject.metadata.uid
        for kind, dependent in tuple(self._graph.dependents(uid)):
            await self._drop_references(kind, dependent, frozenset({uid}))
        await self._release(subject, ORPHAN)

    async def _drop_references(
        self, kind: Kind[Any], subject: Resource, uids: frozenset[str]
    ) -> None:
        left = [msgspec.to_builtins(item) for item in references_without(subject, uids)]
        await self._patch_metadata(kind, subject, {"ownerReferences": left or None})

    async def _release(self, subject: Resource, finalizer: str) -> None:
        left = [name for name in subject.metadata.finalizers or () if name != finalizer]
        await self._patch_metadata(self._kind, subject, {"finalizers": left or None})

    async def _patch_metadata(
        self, kind: Kind[Any], subject: Resource, change: dict[str, object]
    ) -> None:
        version = {"resourceVersion": subject.metadata.resource_version}
        try:
            await self._client.patch(kind, subject.key, {"metadata": {**change, **version}})
        except NotFound:
            return

    async def _delete(self, informer: Informer[Any], subject: Resource, propagation: Any) -> None:
        uid = subject.metadata.uid
        try:
            left = await self._client.delete(
                informer.kind,
                subject.key,
                uid=uid,
                resource_version=subject.metadata.resource_version,
                propagation=propagation,
            )
        except NotFound:
            left = None
        if left is not None and left.deleting:
            informer.observe(left)
        else:
            informer.forget(subject.key, uid)


def _concerns(old: Resource | None, new: Resource) -> bool:
    """Whether a living object's change can matter here; most are changes of status."""
    metadata = new.metadata
    if old is None:
        return bool(metadata.owner_references) or metadata.deletion_timestamp is not None
    before = old.metadata
    return (before.owner_references, before.finalizers, before.deletion_timestamp) != (
        metadata.owner_references, metadata.finalizers, metadata.deletion_timestamp
    )  # fmt: skip
