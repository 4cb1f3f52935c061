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
    schema = _struct_schema(kind.model)
    schema["x-kubernetes-group-version-kind"] = [
        {"group": kind.group, "version": kind.version, "kind": kind.kind}
    ]
    return schema


def _text(documented: type) -> str:
    """The docstring up to its sections, on one line."""
    text = (documented.__doc__ or "").split("Attributes:")[0]
    return " ".join(text.replace("``", "").split())


def _struct_schema(model: type[msgspec.Struct]) -> Schema:
    hints = typing.get_type_hints(model)
    properties: Schema = {}
    for field in msgspec.structs.fields(model):
        name = field.encode_name
        schema = dict(_schema_of(hints[field.name]))
        text = FIELD_TEXTS.get(f"{model.__name__}.{name}") or FIELD_TEXTS.get(name)
        if text and hints[field.name] is not ObjectMeta:
            schema["description"] = text
        properties[name] = schema
    return {"type": "object", "description": _text(model), "properties": properties}


def _schema_of(hint: Any) -> Schema:
    if hint is Any or hint is msgspec.Raw:
        return _FREE
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union_schema([item for item in arguments if item is not type(None)])
    if origin is typing.Literal:
        return {"type": "string", "enum": list(arguments)}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct_schema(hint)
    return _container_schema(origin, arguments)


def _union_schema(members: list[Any]) -> Schema:
    if len(members) == 1:
        return _schema_of(members[0])
    return _INT_OR_STRING


def _container_schema(origin: Any, arguments: tuple[Any, ...]) -> Schema:
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema_of(arguments[1])}
    if origin is tuple:
        items = _schema_of(arguments[0])
        return {"type": "array", "items": items, "description": items.get("description", "")}
    raise TypeError(f"no schema for {origin}[{arguments}]")
