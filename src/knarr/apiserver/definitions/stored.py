"""Parts of a stored definition, decoded when they are needed: the rest may weigh half a megabyte."""

from collections.abc import Mapping
from typing import Any

import msgspec


class _Head(msgspec.Struct, frozen=True):
    class _Meta(msgspec.Struct, frozen=True, rename="camel"):
        name: str = ""
        resource_version: str = "0"

    metadata: _Meta = _Meta()


def name_of(data: bytes) -> str:
    """The name of an object."""
    return msgspec.json.decode(data, type=_Head).metadata.name


def version_of(data: bytes) -> int:
    """The resourceVersion of an object."""
    return int(msgspec.json.decode(data, type=_Head).metadata.resource_version)


class _SchemaDocument(msgspec.Struct, frozen=True):
    class _Spec(msgspec.Struct, frozen=True):
        class _Version(msgspec.Struct, frozen=True):
            class _Validation(msgspec.Struct, frozen=True):
                document: Any = msgspec.field(default=None, name="openAPIV3Schema")

            name: str = ""
            schema: _Validation = _Validation()

        versions: tuple[_Version, ...] = ()

    spec: _Spec


class SchemaSource:
    """Schemas out of a stored definition, decoded when they are asked for."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def schema(self, version: str) -> Mapping[str, Any] | None:
        """``openAPIV3Schema`` of a version."""
        document = msgspec.json.decode(self._data, type=_SchemaDocument)
        for each in document.spec.versions:
            if each.name == version:
                found: Mapping[str, Any] | None = each.schema.document
                return found
        return None
