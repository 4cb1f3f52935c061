"""Knarr's own custom kinds as CustomResourceDefinition objects.

Tools look there for what exists: by label, for columns, to wait for Established. The objects are made and
renewed at start, straight in the store; what a user made of them since is kept. What is served comes from
the models, never from these objects.
"""

import asyncio
import hashlib
import logging
import random
import uuid
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from knarr.apiserver.definitions.naming import plan_names
from knarr.apiserver.definitions.rules import COLLECTION
from knarr.apiserver.served import ENCODER, Registry
from knarr.kits.clock import Clock, format_timestamp
from knarr.meta.errors import Conflict, StatusError
from knarr.meta.objects import Key
from knarr.resources.apiextensions.customresourcedefinition import (
    CUSTOM_RESOURCE_DEFINITION,
    CustomResourceDefinition,
)
from knarr.resources.apiextensions.definitions import own_definitions
from knarr.resources.kind import Kind
from knarr.store.store import Store

_log = logging.getLogger(__name__)
MANAGED_LABEL: Final = "app.kubernetes.io/managed-by"
CONTENT_ANNOTATION: Final = "knarr.dev/definition"
"""A digest of what Knarr wrote: as long as it fits the content, no user changed it."""


def native_definition(document: dict[str, Any]) -> CustomResourceDefinition:
    """The object of one of Knarr's own definitions, without what the server adds."""
    definition = msgspec.convert(document, CustomResourceDefinition)
    labels = {**(definition.metadata.labels or {}), MANAGED_LABEL: "knarr"}
    definition = replace(definition, metadata=replace(definition.metadata, labels=labels))
    annotations = {CONTENT_ANNOTATION: digest_of(definition)}
    return replace(definition, metadata=replace(definition.metadata, annotations=annotations))


def digest_of(definition: CustomResourceDefinition) -> str:
    """A digest of the labels and the spec."""
    content = [dict(definition.metadata.labels or {}), definition.spec]
    return hashlib.sha256(ENCODER.encode(content)).hexdigest()[:32]


def new_native(
    definition: CustomResourceDefinition, uid: str, now: str
) -> CustomResourceDefinition:
    """A definition as it is first stored: established, since its kind is always served."""
    metadata = replace(definition.metadata, uid=uid, creation_timestamp=now, generation=1)
    return _established(replace(definition, metadata=metadata), now)


def renewed_native(
    definition: CustomResourceDefinition, old: CustomResourceDefinition, now: str
) -> CustomResourceDefinition | None:
    """What a stored definition becomes with a newer Knarr; None when it stays.

    Args:
        definition: as this Knarr makes it.
        old: as it is stored.
        now: RFC 3339.
    """
    written = old.metadata.annotation(CONTENT_ANNOTATION)
    if written == definition.metadata.annotation(CONTENT_ANNOTATION) or digest_of(old) != written:
        return None
    annotations = {
        **(old.metadata.annotations or {}),
        **(definition.metadata.annotations or {}),
    }
    metadata = replace(
        old.metadata,
        labels=definition.metadata.labels,
        annotations=annotations,
        generation=old.metadata.generation + (old.spec != definition.spec),
    )
    return _established(
        replace(definition, metadata=metadata, status=old.status),
        now,
    )


def _established(definition: CustomResourceDefinition, now: str) -> CustomResourceDefinition:
    status = plan_names(definition, (), now)
    stored = tuple(
        version.name
        for version in (definition.spec.versions if definition.spec else None) or ()
        if version.storage and version.name is not None
    )
    kept = tuple(each for each in status.stored_versions or () if each not in stored)
    return replace(definition, status=replace(status, stored_versions=(*kept, *stored)))


class NativeDefinitions:
    """Keeps the definitions of Knarr's own custom kinds in the store.

    Args:
        store: entered.
        registry: of the handler.
        clock, rng: for times and uids.
        kinds: those with models.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        kinds: Sequence[Kind[Any]],
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._kinds = kinds

    def missing(self) -> bool:
        """Whether any custom kind has no definition yet."""
        return any(
            self._store.newest(COLLECTION, Key("", kind.qualified_plural)) is None
            for kind in self._kinds
            if not kind.builtin
        )

    async def write(self) -> None:
        """Make what is missing, and bring up to date what no user has changed.

        Raises:
            StatusError: the store refuses writes.
        """
        for document in own_definitions(self._kinds):
            await self._write(native_definition(document))

    async def renew(self) -> None:
        """As ``write``, without being in anybody's way: the schemas of all kinds take a while."""
        documents = await asyncio.to_thread(lambda: list(own_definitions(self._kinds)))
        try:
            for document in documents:
                await self._write(native_definition(document))
        except StatusError as error:
            _log.warning("the definitions of Knarr's own kinds are not renewed: %s", error)

    async def _write(self, definition: CustomResourceDefinition) -> None:
        kind, now = CUSTOM_RESOURCE_DEFINITION, format_timestamp(self._clock.wall())
        served = self._registry.find(kind.group, kind.version, kind.plural)
        if served is None:
            return
        key = definition.key
        entry = self._store.newest(COLLECTION, key)
        try:
            if entry is None:
                uid = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
                new = new_native(definition, uid, now)
                await self._store.create(COLLECTION, key, uid, served.maker(new))
                return
            renewed = renewed_native(definition, served.decode(entry.data), now)
            if renewed is not None:
                await self._store.update(COLLECTION, key, entry.rv, served.maker(renewed))
        except Conflict:
            # a user writes it at this very moment; the next start sees what became of it
            return
