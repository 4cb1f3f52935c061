"""Types and values of documents with a schema (Kubernetes' ``pkg/cel/common/schemas.go``, ``values.go``).

What has no known type, as free-form objects inside, cannot be named by expressions and counts only when
whole objects are compared.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from knarr.apiserver.cel import types
from knarr.apiserver.cel.escaping import escaped
from knarr.apiserver.cel.times import (
    BadTime,
    parse_date_text,
    parse_loose_duration,
    parse_timestamp_text,
)
from knarr.apiserver.cel.types import Type
from knarr.apiserver.cel.values import Broken, Items, Object

Document = Mapping[str, Any]
Sort = Literal[
    "object", "map", "list", "string", "date-time", "date", "duration", "byte", "integer", "number",
    "boolean", "int-or-string",
]  # fmt: skip
_STRING: Final[Document] = {"type": "string"}
_META: Final[dict[str, Document]] = {
    "apiVersion": _STRING,
    "kind": _STRING,
    "metadata": {
        "type": "object",
        "properties": {"name": _STRING, "generateName": _STRING},
    },
}
_TEXTS: Final[dict[str, tuple[Sort, Type]]] = {
    "byte": ("byte", types.BYTES),
    "duration": ("duration", types.DURATION),
    "date": ("date", types.TIMESTAMP),
    "date-time": ("date-time", types.TIMESTAMP),
}
_SCALARS: Final[dict[str, tuple[Sort, Type]]] = {
    "boolean": ("boolean", types.BOOL),
    "number": ("number", types.DOUBLE),
    "integer": ("integer", types.INT),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of the values at one place.

    Attributes:
        kind: their type in expressions.
        fields: of an object: by name, the name in expressions (None: there is none) and the shape.
        items: of a list's items or a map's values.
        keys: of a list keyed by fields, in expressions' names.
        unordered: a set, or a list keyed by fields.
    """

    sort: Sort
    kind: Type
    nullable: bool = False
    fields: "Mapping[str, tuple[str | None, Shape]]" = field(default_factory=dict)
    items: "Shape | None" = None
    keys: tuple[str, ...] = ()
    unordered: bool = False


def shape_of(schema: Document, name: str = "object", *, root: bool = False) -> Shape | None:
    """The shape of a schema; None when nothing is known of its values.

    Args:
        schema: as ``openAPIV3Schema`` holds it.
        name: of the type, for errors.
        root: a whole resource, whose name and kind are always known.
    """
    nullable = schema.get("nullable") is True
    if schema.get("x-kubernetes-int-or-string"):
        return Shape("int-or-string", types.DYN, nullable)
    match schema.get("type"):
        case "array":
            return _list(schema, name, nullable=nullable)
        case "object":
            return _object(schema, name, root=root, nullable=nullable)
        case "string":
            sort, kind = _TEXTS.get(schema.get("format") or "", ("string", types.STRING))
            return Shape(sort, kind, nullable)
        case str(scalar) if scalar in _SCALARS:
            sort, kind = _SCALARS[scalar]
            return Shape(sort, kind, nullable)
        case _:
            return None


def _inner(schema: Document, name: str) -> Shape | None:
    return shape_of(schema, name, root=bool(schema.get("x-kubernetes-embedded-resource")))


def _list(schema: Document, name: str, *, nullable: bool) -> Shape | None:
    items = schema.get("items")
    shape = _inner(items, f"{name}.@idx") if isinstance(items, Mapping) else None
    if shape is None:
        return None
    kind = schema.get("x-kubernetes-list-type")
    names = schema.get("x-kubernetes-list-map-keys") or () if kind == "map" else ()
    return Shape(
        "list",
        types.list_of(shape.kind),
        nullable,
        items=shape,
        keys=tuple(escaped(each) or each for each in names),
        unordered=kind in ("set", "map"),
    )


def _object(schema: Document, name: str, *, root: bool, nullable: bool) -> Shape | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping) and not root:
        shape = _inner(additional, f"{name}.@elem")
        if shape is None:
            return None
        return Shape("map", types.map_of(types.STRING, shape.kind), nullable, items=shape)
    properties = dict(schema.get("properties") or {})
    if root:
        properties |= _META
    fields: dict[str, tuple[str | None, Shape]] = {}
    for each, inner in properties.items():
        found = _inner(inner, f"{name}.{escaped(each) or each}")
        if found is not None:
            fields[each] = (escaped(each), found)
    kinds = {visible: shape.kind for visible, shape in fields.values() if visible is not None}
    return Shape("object", types.object_of(name, kinds), nullable, fields)


def value_of(raw: Any, shape: Shape) -> Any:  # noqa: PLR0911 - one line per kind of value
    """A value for expressions; data that do not fit become ``Broken``."""
    if raw is None:
        return (
            None
            if shape.nullable
            else Broken("invalid data, got null for schema with nullable=false")
        )
    match shape.sort:
        case "object":
            return _object_value(raw, shape)
        case "map":
            return _map_value(raw, shape)
        case "list":
            return _list_value(raw, shape)
        case "integer":
            return raw if type(raw) is int else _unfit("int", raw)
        case "number":
            return float(raw) if type(raw) in (int, float) else _unfit("float", raw)
        case "boolean":
            return raw if isinstance(raw, bool) else _unfit("bool", raw)
        case "int-or-string":
            fits = isinstance(raw, str) or type(raw) is int
            message = "invalid data, expected XIntOrString value to be either a string or integer"
            return raw if fits else Broken(message)
        case _:
            return _text_value(raw, shape.sort) if isinstance(raw, str) else _unfit("string", raw)


def _unfit(wanted: str, raw: Any) -> Broken:
    return Broken(f"invalid data, expected {wanted}, got {type(raw).__name__}")


def _object_value(raw: Any, shape: Shape) -> Any:
    if not isinstance(raw, dict):
        return Broken("invalid data, expected a map for the provided schema with type=object")
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in raw.items():
        if value is None:
            continue
        visible, inner = shape.fields.get(name, (None, None))
        if visible is None or inner is None:
            unknown[name] = value
        else:
            known[visible] = value_of(value, inner)
    return Object(known, unknown)


def _map_value(raw: Any, shape: Shape) -> Any:
    if not isinstance(raw, dict) or shape.items is None:
        return Broken("invalid data, expected a map for the provided schema with type=object")
    inner = shape.items
    return {name: value_of(value, inner) for name, value in raw.items()}


def _list_value(raw: Any, shape: Shape) -> Any:
    if not isinstance(raw, list) or shape.items is None:
        return Broken("invalid data, expected an array for the provided schema with type=array")
    inner = shape.items
    values = [value_of(item, inner) for item in raw]
    return Items(values, shape.keys) if shape.unordered else values


def _text_value(raw: str, sort: Sort) -> Any:
    try:
        match sort:
            case "date-time":
                return parse_timestamp_text(raw)
            case "date":
                return parse_date_text(raw)
            case "duration":
                return parse_loose_duration(raw)
            case "byte":
                return base64.b64decode(raw, validate=True)
            case _:
                return raw
    except (BadTime, binascii.Error, ValueError):
        return Broken(f"Invalid {sort} formatted string {raw}")
