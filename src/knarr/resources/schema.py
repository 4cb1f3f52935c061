"""OpenAPI v3 schemas of the kinds, derived from their models.

``kubectl explain`` reads them. Nothing is computed until it is asked for, and nothing refers elsewhere: a
kind's schema is complete in itself.
"""

import types
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from knarr.meta.objects import ObjectMeta
from knarr.resources.fieldtexts import FIELD_TEXTS
from knarr.resources.kind import Kind

Schema = dict[str, Any]
Models = tuple[type[msgspec.Struct], ...]

_SCALARS: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    bytes: {"type": "string", "format": "byte"},
}
_INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
_FREE: Schema = {"x-kubernetes-preserve-unknown-fields": True}


def openapi_schema(kind: Kind[Any]) -> Schema:
    """The component schema of a kind's documents."""
    return Schemas().of(kind)


class Schemas:
    """Makes schemas; what kinds have in common is made once and shared, so nobody may change it."""

    def __init__(self) -> None:
        self._made: dict[type[msgspec.Struct], Schema] = {}

    def of(self, kind: Kind[Any]) -> Schema:
        """The component schema of a kind's documents."""
        identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        return {
            **self._struct(kind.model, ()),
            "x-kubernetes-group-version-kind": [identity],
        }

    def _struct(self, model: type[msgspec.Struct], inside: Models) -> Schema:
        if model in inside:
            # schemas inside schemas: the outermost one has said what there is to say
            return {"type": "object", "description": _text(model), **_FREE}
        made = self._made.get(model)
        if made is None:
            properties = {
                field.encode_name: self._field(model, field, (*inside, model))
                for field in msgspec.structs.fields(model)
            }
            made = {"type": "object", "description": _text(model), "properties": properties}
            self._made[model] = made
        return made

    def _field(
        self, model: type[msgspec.Struct], field: msgspec.structs.FieldInfo, inside: Models
    ) -> Schema:
        schema = dict(self._schema(field.type, inside))
        name = field.encode_name
        text = FIELD_TEXTS.get(f"{model.__name__}.{name}") or FIELD_TEXTS.get(name)
        if text and field.type is not ObjectMeta:
            schema["description"] = text
        return schema

    def _schema(self, hint: Any, inside: Models) -> Schema:
        if hint is Any or hint is msgspec.Raw:
            return _FREE
        if hint in _SCALARS:
            return _SCALARS[hint]
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return self._union([item for item in arguments if item is not type(None)], inside)
        if origin is typing.Literal:
            return {"type": "string", "enum": list(arguments)}
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self._struct(hint, inside)
        return self._container(origin, arguments, inside)

    def _union(self, members: list[Any], inside: Models) -> Schema:
        if len(members) == 1:
            return self._schema(members[0], inside)
        if set(members) == {int, float}:
            return _SCALARS[float]
        return _INT_OR_STRING if set(members) <= {int, float, str} else _FREE

    def _container(self, origin: Any, arguments: tuple[Any, ...], inside: Models) -> Schema:
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self._schema(arguments[1], inside)}
        if origin is tuple:
            items = self._schema(arguments[0], inside)
            return {"type": "array", "items": items, "description": items.get("description", "")}
        raise TypeError(f"no schema for {origin}[{arguments}]")


def _text(documented: type) -> str:
    """The docstring up to its sections, on one line."""
    text = (documented.__doc__ or "").split("Attributes:")[0]
    return " ".join(text.replace("``", "").split())
