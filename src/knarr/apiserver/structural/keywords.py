"""The grammar of ``JSONSchemaProps``: which keywords there are and what they hold."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from knarr.apiserver.structural.formats import effective_format
from knarr.apiserver.structural.schema import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_MAP_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVE,
    VALIDATIONS,
)
from knarr.apiserver.structural.texts import child, invalid, key
from knarr.apiserver.structural.validation import type_of
from knarr.meta.fielderrors import FieldError

Document = Mapping[str, Any]

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": (
        "id", "$schema", "$ref", "description", "type", "format", "title", "pattern", LIST_TYPE,
        MAP_TYPE,
    ),
    "boolean": (
        "exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "nullable", PRESERVE, EMBEDDED,
        INT_OR_STRING,
    ),
    "number": ("maximum", "minimum", "multipleOf"),
    "integer": (
        "maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties",
    ),
    "array": ("enum",),
    "object": ("externalDocs", "dependencies"),
    "strings": ("required", LIST_MAP_KEYS),
    "any": ("default", "example"),
    "schema": ("not",),
    "schemas": ("allOf", "anyOf", "oneOf"),
    "named": ("properties", "patternProperties", "definitions"),
    "schema or boolean": ("additionalProperties", "additionalItems"),
    "schema or schemas": ("items",),
    "rules": (VALIDATIONS,),
}  # fmt: skip
_KIND_OF: Final = {name: kind for kind, names in _KINDS.items() for name in names}
_JSON_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "any": ("any",),
    "number": ("integer", "number"),
    "strings": ("array",),
    "schema": ("object",),
    "schemas": ("array",),
    "named": ("object",),
    "schema or boolean": ("object", "boolean"),
    "schema or schemas": ("object", "array"),
    "rules": ("array",),
}


class Part(NamedTuple):
    """A schema inside another; ``name`` is its property's."""

    keyword: str
    path: str
    document: Any
    name: str = ""


def parts(document: Document, path: str) -> Iterator[Part]:
    """The schemas directly inside a schema."""
    for keyword, value in document.items():
        where = child(path, keyword)
        match _KIND_OF.get(keyword), value:
            case "named", dict():
                for name, inner in value.items():
                    yield Part(keyword, key(where, name), inner, name)
            case (("schemas" | "schema or schemas"), list()):
                for index, inner in enumerate(value):
                    yield Part(keyword, key(where, index), inner)
            case (("schema" | "schema or boolean" | "schema or schemas"), dict()):
                yield Part(keyword, where, value)
            case _:
                pass


def grammar_errors(document: Any, path: str) -> list[FieldError]:
    """Keywords that hold something else than they may."""
    if not isinstance(document, dict):
        return [invalid(path, document, "must be a schema object")]
    errors: list[FieldError] = []
    for keyword, value in document.items():
        kind = _KIND_OF.get(keyword)
        if kind is not None and value is not None and not _holds(kind, value):
            errors.append(invalid(child(path, keyword), value, f"must be of type {kind}"))
    if not errors:
        for part in parts(document, path):
            errors += grammar_errors(part.document, part.path)
    return errors


def _holds(kind: str, value: Any) -> bool:
    actual = type_of(value)
    wanted = _JSON_TYPES.get(kind, (kind,))
    if actual not in wanted:
        return "any" in wanted
    match kind:
        case "strings":
            return all(isinstance(item, str) for item in value)
        case "rules":
            return all(isinstance(item, dict) for item in value)
        case _:
            return True


def unknown_keywords(document: Any, path: str) -> list[str]:
    """The dotted paths of keywords that nobody knows, in order."""
    return sorted(_unknown(document, path))


def _unknown(document: Any, path: str) -> Iterator[str]:
    if not isinstance(document, dict):
        return
    for keyword, value in document.items():
        where = child(path, keyword)
        if keyword not in _KIND_OF:
            yield where
        elif _KIND_OF[keyword] == "named" and isinstance(value, dict):
            for name, inner in value.items():
                yield from _unknown(inner, child(where, name))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                if _KIND_OF[keyword] in ("schemas", "schema or schemas"):
                    yield from _unknown(inner, key(where, index))
        elif _KIND_OF[keyword].startswith("schema"):
            yield from _unknown(value, where)


def unknown_formats(document: Any) -> set[str]:
    """The formats of strings that nobody knows; they are ignored."""
    if not isinstance(document, dict):
        return set()
    name = document.get("format") or ""
    found = {name} if document.get("type") == "string" and name else set()
    unknown = {each for each in found if not effective_format(each, ("string",))}
    return unknown.union(*(unknown_formats(part.document) for part in parts(document, "")))


def cel_rules(document: Any, path: str) -> tuple[str, ...]:
    """The paths of validation rules in CEL."""
    return tuple(_rules(document, path))


def _rules(document: Any, path: str) -> Iterator[str]:
    if not isinstance(document, dict):
        return
    rules = document.get(VALIDATIONS)
    if isinstance(rules, list):
        for index in range(len(rules)):
            yield key(child(path, VALIDATIONS), index)
    for part in parts(document, path):
        yield from _rules(part.document, part.path)
