"""The rules that make a schema structural: every value has one described place.

Source of rules and texts: ``apiextensions-apiserver/pkg/apiserver/schema``. The schema has passed
``grammar_errors``.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

from knarr.apiserver.structural.expressions import BadExpression, compile_expression
from knarr.apiserver.structural.keywords import Document
from knarr.apiserver.structural.schema import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_MAP_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVE,
    VALIDATIONS,
)
from knarr.apiserver.structural.texts import child, forbidden, in_order, invalid, key, required
from knarr.meta.fielderrors import FieldError

Level = Literal["root", "item", "field"]
Errors = Iterator[FieldError]

_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
_MISSING_TYPE: Final = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_FORBIDDEN: Final = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (PRESERVE, "must be false to be structural"),
    (EMBEDDED, "must be false to be structural"),
    (INT_OR_STRING, "must be false to be structural"),
    (LIST_MAP_KEYS, "must be empty to be structural"),
    (LIST_TYPE, "must be undefined to be structural"),
    (MAP_TYPE, "must be undefined to be structural"),
    (VALIDATIONS, "must be empty to be structural"),
)


def structural_errors(document: Document, path: str) -> tuple[FieldError, ...]:
    """Why a schema is not structural, in order."""
    return in_order(
        [*_invariants(document, "root", path), *_complete(document, document, path, path)]
    )


def _invariants(schema: Document, level: Level, path: str) -> Errors:
    items = schema.get("items")
    if schema.get("type") == "array" and items is None:
        yield required(child(path, "items"), "must be specified")
    if isinstance(items, dict):
        yield from _invariants(items, "item", child(path, "items"))
    for name, inner in (schema.get("properties") or {}).items():
        yield from _invariants(inner, "field", key(child(path, "properties"), name))
    yield from _additional(schema, level, child(path, "additionalProperties"))
    yield from _extensions(schema, path)
    yield from _values(schema, path)
    yield from _type(schema, level, path)
    yield from _meta(schema, level, child(path, "properties"))


def _additional(schema: Document, level: Level, path: str) -> Errors:
    additional = schema.get("additionalProperties")
    if additional is None:
        return
    if level == "root":
        yield forbidden(path, "must not be used at the root")
    if isinstance(additional, dict):
        yield from _invariants(additional, "field", path)
    if schema.get(EMBEDDED):
        yield forbidden(path, f"must not be used if {EMBEDDED} is set")


def _extensions(schema: Document, path: str) -> Errors:
    if schema.get(INT_OR_STRING):
        for name in (PRESERVE, EMBEDDED):
            if schema.get(name):
                detail = f"must be false if {INT_OR_STRING} is true"
                yield invalid(child(path, name), schema[name], detail)
    if schema.get(EMBEDDED) and not schema.get(PRESERVE) and not schema.get("properties"):
        yield required(
            child(path, "properties"),
            f"must not be empty if {EMBEDDED} is true without {PRESERVE}",
        )


def _type(schema: Document, level: Level, path: str) -> Errors:
    name, where = schema.get("type") or "", child(path, "type")
    if schema.get(EMBEDDED) and name != "object":
        detail = f"must be object if {EMBEDDED} is true"
        yield invalid(where, name, detail) if name else required(where, detail)
    elif not name and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        yield required(where, _MISSING_TYPE[level])
    if level == "root" and name and name != "object":
        yield invalid(where, name, "must be object at the root")


def _meta(schema: Document, level: Level, path: str) -> Errors:
    properties = schema.get("properties") or {}
    checked = level == "root" or bool(schema.get(EMBEDDED))
    for name in ("kind", "apiVersion"):
        if checked and name in properties and properties[name].get("type") != "string":
            kind = properties[name].get("type") or ""
            yield invalid(child(key(path, name), "type"), kind, "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    where = key(path, "metadata")
    if checked and metadata.get("type") != "object":
        yield invalid(child(where, "type"), metadata.get("type") or "", "must be object")
    if level == "root" and _says_more(metadata):
        yield forbidden(
            where,
            "must not specify anything other than name and generateName, but metadata is implicitly "
            "specified",
        )


def _says_more(metadata: Document) -> bool:
    rest = {
        name: value
        for name, value in metadata.items()
        if name not in ("type", "default") and value not in (None, False, "", [], {})
    }
    if set(rest.get("properties") or {}) <= {"name", "generateName"}:
        rest.pop("properties", None)
    return bool(rest)


# Value validations: what stands below anyOf, allOf, oneOf and not


def _values(
    schema: Document, path: str, *, skip_any: bool = False, skip_first: bool = False
) -> Errors:
    skip_any = skip_any or schema.get("anyOf") == _INT_OR_STRING
    all_of = schema.get("allOf") or []
    skip_first = skip_first or bool(all_of and all_of[0].get("anyOf") == _INT_OR_STRING)
    if not skip_any:
        yield from _alternatives(schema.get("anyOf"), child(path, "anyOf"))
    for index, inner in enumerate(all_of):
        where = key(child(path, "allOf"), index)
        yield from _nested(inner, where, skip_any=skip_first and index == 0)
    yield from _alternatives(schema.get("oneOf"), child(path, "oneOf"))
    if schema.get("not") is not None:
        yield from _nested(schema["not"], child(path, "not"))
    yield from _pattern(schema.get("pattern"), child(path, "pattern"))


def _alternatives(schemas: Any, path: str) -> Errors:
    for index, inner in enumerate(schemas or ()):
        yield from _nested(inner, key(path, index))


def _pattern(pattern: Any, path: str) -> Errors:
    if not pattern:
        return
    try:
        compile_expression(pattern)
    except BadExpression as error:
        detail = f"must be a valid regular expression, but isn't: {error}"
        yield invalid(path, pattern, detail)


def _nested(schema: Document, path: str, *, skip_any: bool = False) -> Errors:
    yield from _nested_values(schema, path, skip_any=skip_any)
    if isinstance(schema.get("items"), dict):
        yield from _nested(schema["items"], child(path, "items"))
    for name, inner in (schema.get("properties") or {}).items():
        where = key(child(path, "properties"), name)
        if name == "metadata":
            yield forbidden(where, "must not be specified in a nested context")
        yield from _nested(inner, where)
    for name, detail in _FORBIDDEN:
        value = schema.get(name)
        given = value is not None and value is not False
        if given and (value not in ("", []) or name in ("additionalProperties", "default")):
            yield forbidden(child(path, name), detail)


def _nested_values(schema: Document, path: str, *, skip_any: bool) -> Errors:
    if not skip_any:
        yield from _alternatives(schema.get("anyOf"), child(path, "anyOf"))
    for combined in ("allOf", "oneOf"):
        yield from _alternatives(schema.get(combined), child(path, combined))
    if schema.get("not") is not None:
        yield from _nested(schema["not"], child(path, "not"))
    yield from _pattern(schema.get("pattern"), child(path, "pattern"))


# Completeness: every value validation has a described counterpart


def _complete(values: Document, schema: Document, path: str, of: str) -> Errors:
    if values.get("not") is not None:
        yield from _covered(values["not"], schema, path, child(of, "not"))
    for combined in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(values.get(combined) or ()):
            yield from _covered(inner, schema, path, key(child(of, combined), index))


def _covered(values: Document, schema: Document | None, path: str, of: str) -> Errors:
    if schema is None:
        yield required(path, f"because it is defined in {of}")
        return
    yield from _complete(values, schema, path, of)
    if isinstance(values.get("items"), dict):
        yield from _covered(
            values["items"], schema.get("items"), child(path, "items"), child(of, "items")
        )
    properties = schema.get("properties") or {}
    for name, inner in (values.get("properties") or {}).items():
        where, source = (key(child(each, "properties"), name) for each in (path, of))
        yield from _covered(inner, properties.get(name), where, source)
