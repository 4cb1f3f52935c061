"""Keeps what is served in step with the CustomResourceDefinitions in the store.

Entered, every kind that was established is served again: nothing answers before. From then on each
change of a definition is followed as soon as it is visible. Streams of a kind whose definition changed are
ended: their clients resume, under the new one.
"""

import hashlib
import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from msgspec.structs import replace

from knarr.apiserver.customkinds import serve_definition
from knarr.apiserver.definitions.cleanup import (
    cleaning_status,
    completed_status,
    released,
    waits_for_cleanup,
)
from knarr.apiserver.definitions.instances import Instances
from knarr.apiserver.definitions.naming import Claims, claims_of, plan_names
from knarr.apiserver.definitions.native import NativeDefinitions
from knarr.apiserver.definitions.rules import COLLECTION
from knarr.apiserver.definitions.stored import SchemaSource, name_of, version_of
from knarr.apiserver.served import ENCODER, Registry, Served
from knarr.apiserver.structural import BadPath
from knarr.kits.clock import Clock, format_timestamp
from knarr.kits.tasks import TaskScope
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Controller, Result
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apiextensions.customresourcedefinition import (
    CUSTOM_RESOURCE_DEFINITION,
    CustomResourceDefinition,
    CustomResourceDefinitionStatus,
    is_established,
)
from knarr.resources.kind import Kind
from knarr.store.records import Event
from knarr.store.store import Store
from knarr.store.watcher import Watcher

_log = logging.getLogger(__name__)
_WAIT_S: Final = 3600.0
_PROGRESS_EVERY_S: Final = 0.25


@dataclass(slots=True)
class _Known:
    """What is remembered of a definition: enough to see whether a change matters.

    Attributes:
        served: what the registry was last given for it: uid, digest of the spec, names, closing.
        since: objects of this resourceVersion or newer were written under this spec.
        versions: the kinds that are served, in the order of their preference.
    """

    group: str
    claims: Claims = field(default_factory=Claims)
    served: tuple[Any, ...] = ()
    since: int = 0
    versions: tuple[Served, ...] = ()


class Definitions:
    """Serves custom kinds; an async context manager.

    Args:
        store: entered.
        registry: of the handler.
        client: writes definitions' status; as the server itself.
        clock: for conditions' times.
        rng: for uids and back-off.
        kinds: those with models, of which the custom ones appear as definitions.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        client: Client,
        clock: Clock,
        rng: random.Random,
        kinds: Iterable[Kind[Any]],
    ) -> None:
        self._store = store
        self._registry = registry
        self._client = client
        self._clock = clock
        self._rng = rng
        self._kinds = tuple(kinds)
        self._own = frozenset(kind.qualified_plural for kind in self._kinds if not kind.builtin)
        self._known: dict[str, _Known] = {}
        self._followed: set[str] = set()
        self._instances = Instances(store, clock)
        self._decoder = msgspec.json.Decoder(CustomResourceDefinition)
        self._controller = Controller("definitions", self, clock=clock, rng=rng, workers=1)
        self._watcher: Watcher | None = None
        self._scope: TaskScope | None = None

    # --- life -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Serve what is established.

        Raises:
            StatusError: the store refuses writes.
        """
        native = NativeDefinitions(self._store, self._registry, self._clock, self._rng, self._kinds)
        first = native.missing()
        if first:
            await native.write()
        self._resume()
        scope = TaskScope()
        await scope.__aenter__()
        self._scope = scope
        scope.start(self._follow(), name="definitions-follow")
        if not first:
            scope.start(native.renew(), name="definitions-native")
        await self._controller.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._controller.__aexit__(kind, error, trace)
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(kind, error, trace)
        if self._watcher is not None:
            self._store.unwatch(COLLECTION, self._watcher)

    # --- following --------------------------------------------------------------------------------------

    def _stored(self) -> list[tuple[Key, bytes]]:
        """Every visible definition."""
        items = self._store.page(COLLECTION).items
        return [(Key("", name_of(data)), data) for data in items]

    def _resume(self) -> None:
        """Follow from now on, and take over everything that is there; no await in between."""
        self._watcher = self._store.watch(COLLECTION)
        present = self._stored()
        for name in set(self._known) - {key.name for key, _ in present}:
            self._forget(name)
        for key, data in present:
            self._observe(key.name, data, version_of(data))

    async def _follow(self) -> None:
        while True:
            watcher = self._watcher
            batch = await watcher.next_batch(_WAIT_S) if watcher is not None else None
            if batch is None:
                # the queue overflowed: start over
                self._resume()
                continue
            for event in batch:
                self._changed(event)

    def _changed(self, event: Event) -> None:
        name = event.key.name
        if event.kind == "DELETED":
            self._forget(name)
        else:
            self._observe(name, event.data, self._store.assigned_rv + 1)

    def _observe(self, name: str, data: bytes, since: int) -> None:
        """A definition as it is now; objects of version ``since`` or newer were written under it."""
        if name in self._own:
            self._claim(name, self._decode(data))
            return
        definition = self._decode(data)
        self._claim(name, definition)
        self._serve(name, definition, data, since)
        self._controller.enqueue(Key("", name))

    def _decode(self, data: bytes) -> CustomResourceDefinition:
        return self._decoder.decode(data)

    def _claim(self, name: str, definition: CustomResourceDefinition) -> None:
        """Remember the names that a definition has; who waits for them may get them now."""
        group = (definition.spec.group if definition.spec is not None else None) or ""
        known = self._known.setdefault(name, _Known(group))
        claims = claims_of(definition.status.accepted_names if definition.status else None)
        if claims != known.claims:
            known.claims = claims
            self._reconsider(group)

    def _reconsider(self, group: str) -> None:
        for name, known in self._known.items():
            if known.group == group and name not in self._own:
                self._controller.enqueue(Key("", name))

    def _forget(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is None:
            return
        if known.versions:
            self._registry.put_custom(name, ())
        self._store.end_watches(name)
        self._reconsider(known.group)

    # --- serving ----------------------------------------------------------------------------------------

    def _serve(
        self, name: str, definition: CustomResourceDefinition, data: bytes, since: int
    ) -> None:
        """Serve an established definition as it is now; nothing happens when that is the case."""
        known = self._known[name]
        status = definition.status
        if status is None or not is_established(definition):
            return
        metadata = definition.metadata
        spec = hashlib.blake2b(ENCODER.encode(definition.spec), digest_size=16).digest()
        wanted = (metadata.uid, spec, status.accepted_names, definition.deleting)
        if wanted == known.served:
            return
        before = known.served
        if before[:2] != wanted[:2]:
            known.since = since
        known.served = wanted
        known.versions = self._versions(definition, data, known.since)
        self._registry.put_custom(name, known.versions)
        if before and before[:3] != wanted[:3]:
            self._store.end_watches(name)

    def _versions(
        self, definition: CustomResourceDefinition, data: bytes, since: int
    ) -> tuple[Served, ...]:
        """The kinds of a definition, under the names that it got."""
        document = msgspec.json.decode(data)
        accepted = definition.status.accepted_names if definition.status is not None else None
        document["spec"]["names"] = msgspec.to_builtins(accepted)
        try:
            return tuple(serve_definition(document, since, load=SchemaSource(data).schema))
        except (BadPath, KeyError, StopIteration) as error:
            # written by a version of Knarr that allowed it
            _log.error("%s cannot be served: %r", definition.metadata.name, error)
            return ()

    def _any_version(self, name: str, data: bytes) -> Served | None:
        """A kind of a definition, be it one that is not served."""
        known = self._known[name]
        if known.versions:
            return known.versions[0]
        document = msgspec.json.decode(data)
        for version in document["spec"]["versions"]:
            version["served"] = True
        return next(iter(serve_definition(document, known.since)), None)

    # --- the controller ---------------------------------------------------------------------------------

    async def reconcile(self, key: Key) -> Result:
        """Bring a definition's status up to date, or clean up behind one that is deleted."""
        entry = self._store.get(COLLECTION, key)
        if entry is None or key.name in self._own or key.name not in self._known:
            return DONE
        definition = self._decode(entry.data)
        if definition.deleting:
            await self._clean(key, definition, entry.data)
            return DONE
        known = self._known[key.name]
        others = [
            each.claims
            for name, each in self._known.items()
            if name != key.name and each.group == known.group
        ]
        status = plan_names(definition, others, self._now())
        if status == definition.status:
            return DONE
        # claimed and served before anybody can read that it is
        named = replace(definition, status=status)
        known.claims = claims_of(status.accepted_names)
        self._serve(key.name, named, entry.data, self._store.assigned_rv + 1)
        await self._put_status(definition, status)
        return DONE

    async def _put_status(
        self, definition: CustomResourceDefinition, status: CustomResourceDefinitionStatus
    ) -> None:
        try:
            await self._client.update_status(
                CUSTOM_RESOURCE_DEFINITION, replace(definition, status=status)
            )
        except NotFound:
            return

    async def _clean(self, key: Key, definition: CustomResourceDefinition, data: bytes) -> None:
        """Delete the kind's objects; when the last one is gone, let the definition go."""
        if not waits_for_cleanup(definition):
            return
        self._follow_instances(key)
        remaining: list[ObjectMeta] = []
        version = self._any_version(key.name, data) if is_established(definition) else None
        if version is not None:
            await self._instances.delete_all(key.name, version)
            remaining = self._instances.remaining(key.name)
        if remaining:
            status = cleaning_status(definition, remaining, self._now())
            if status != definition.status:
                await self._put_status(definition, status)
            return
        left = list(released(definition))
        if left:
            await self._put_status(definition, completed_status(definition, self._now()))
            definition = await self._client.get(CUSTOM_RESOURCE_DEFINITION, key)
        patch: Mapping[str, Any] = {
            "metadata": {
                "finalizers": left or None,
                "resourceVersion": definition.metadata.resource_version,
            }
        }
        try:
            await self._client.patch(CUSTOM_RESOURCE_DEFINITION, key, patch)
        except NotFound:
            return

    def _follow_instances(self, key: Key) -> None:
        """Come back to a definition whenever one of its last objects goes."""
        if self._scope is not None and key.name not in self._followed:
            self._followed.add(key.name)
            self._scope.start(self._watch_instances(key), name=f"definitions-clean-{key.name}")

    async def _watch_instances(self, key: Key) -> None:
        watcher = self._store.watch(key.name)
        try:
            while key.name in self._known:
                batch = await watcher.next_batch(_WAIT_S)
                if self._store.size(key.name) == 0:
                    self._controller.enqueue(key)
                else:
                    self._controller.queue.add_after(key, _PROGRESS_EVERY_S)
                if batch is None:
                    self._store.unwatch(key.name, watcher)
                    watcher = self._store.watch(key.name)
        finally:
            self._store.unwatch(key.name, watcher)
            self._followed.discard(key.name)

    def _now(self) -> str:
        return format_timestamp(self._clock.wall())
