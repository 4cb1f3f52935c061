"""What of a CustomResourceDefinition and of its objects matters to controllers of all kinds.

A definition may weigh half a megabyte; its names are enough here. Of an object the metadata is.
"""

from typing import TypeVar

from msgspec.structs import replace

from knarr.meta.objects import Resource, Struct
from knarr.resources.apiextensions.customresourcedefinition import (
    CUSTOM_RESOURCE_DEFINITION,
    ESTABLISHED,
    Names,
)
from knarr.resources.core.references import Condition
from knarr.resources.kind import Kind

T = TypeVar("T", bound=Resource)


class Version(Struct, frozen=True, kw_only=True):
    """A version of the kind."""

    name: str = ""
    served: bool | None = None
    storage: bool | None = None


class DefinitionSpec(Struct, frozen=True, kw_only=True):
    """Where the kind's objects are."""

    group: str = ""
    scope: str = ""
    versions: tuple[Version, ...] = ()


class DefinitionStatus(Struct, frozen=True, kw_only=True):
    """Which names the kind got, and whether it is served."""

    conditions: tuple[Condition, ...] = ()
    accepted_names: Names | None = None


class Definition(Resource, frozen=True, kw_only=True):
    """A CustomResourceDefinition without its schemas."""

    spec: DefinitionSpec | None = None
    status: DefinitionStatus | None = None


DEFINITION: Kind[Definition] = Kind(
    group=CUSTOM_RESOURCE_DEFINITION.group,
    version=CUSTOM_RESOURCE_DEFINITION.version,
    kind=CUSTOM_RESOURCE_DEFINITION.kind,
    plural=CUSTOM_RESOURCE_DEFINITION.plural,
    namespaced=False,
    builtin=True,
    model=Definition,
)


def slim(subject: T) -> T:
    """An object without the parts of its metadata that weigh most and matter least here."""
    metadata = replace(subject.metadata, annotations=None, managed_fields=None)
    return replace(subject, metadata=metadata)


def kind_of(definition: Definition) -> Kind[Resource] | None:
    """The kind that a definition makes, in one of its versions; None when it is not served."""
    spec, status = definition.spec, definition.status
    if spec is None or status is None or status.accepted_names is None:
        return None
    established = any(
        each.type == ESTABLISHED and each.status == "True" for each in status.conditions
    )
    served = sorted(
        (each for each in spec.versions if each.served), key=lambda each: not each.storage
    )
    names = status.accepted_names
    if not established or not served or not names.plural or not names.kind:
        return None
    return Kind(
        group=spec.group,
        version=served[0].name,
        kind=names.kind,
        plural=names.plural,
        namespaced=spec.scope == "Namespaced",
        model=Resource,
    )
