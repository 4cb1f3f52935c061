"""Knarr's own custom kinds as CustomResourceDefinition objects.

Tools look there for what exists: by label, for columns, to wait for Established. The objects are made and
renewed at start, straight in the store; what a user made of them since is kept. What is served comes from
the models, never from these objects.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from knarr.apiserver.definitions.naming import plan_names
from knarr.apiserver.served import ENCODER
from knarr.meta.objects import Key
from knarr.resources.apiextensions.customresourcedefinition import (
    CustomResourceDefinition,
)
from knarr.resources.kind import Kind

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


def missing(kinds: Iterable[Kind[Any]], present: Iterable[Key]) -> bool:
    """Whether any custom kind has no definition yet."""
    names = {key.name for key in present}
    return any(not kind.builtin and kind.qualified_plural not in names for kind in kinds)
