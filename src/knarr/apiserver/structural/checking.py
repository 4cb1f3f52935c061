"""Schemas of CustomResourceDefinitions: what Kubernetes refuses when one is created.

Source of rules and texts: ``apiextensions-apiserver/pkg/apis/apiextensions/validation``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from knarr.apiserver.structural.embedded import embedded_errors
from knarr.apiserver.structural.keywords import Document, Part, grammar_errors, parts
from knarr.apiserver.structural.pruning import META_FIELDS, as_root, coerce_metadata, prune
from knarr.apiserver.structural.schema import (
    EMBEDDED,
    LIST_MAP_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVE,
    BadSchema,
    Schema,
    parse_schema,
)
from knarr.apiserver.structural.structure import structural_errors
from knarr.apiserver.structural.texts import (
    child,
    forbidden,
    invalid,
    key,
    not_supported,
    required,
)
from knarr.apiserver.structural.validation import equal, validate
from knarr.meta.fielderrors import FieldError

Errors = Iterator[FieldError]

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_ROOT_KEYWORDS: Final = (
    "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum",
    "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems",
    "multipleOf", "required", "items", "properties", "externalDocs", "example", PRESERVE,
    "x-kubernetes-validations",
)  # fmt: skip
_ROOT_NAMES: Final = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength "
    "MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties "
    "ExternalDocs Example XPreserveUnknownFields XValidations"
)
_UNSUPPORTED: Final = (
    "id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref",
)  # fmt: skip


def schema_errors(document: Any, path: str, *, has_status: bool = False) -> tuple[FieldError, ...]:
    """What is wrong with the ``openAPIV3Schema`` of a version.

    Args:
        document: the schema.
        path: of the schema in its definition.
        has_status: the version has the status subresource.
    """
    malformed = grammar_errors(document, path)
    if malformed:
        return tuple(malformed)
    errors = list(_root_errors(document, path, has_status=has_status))
    if not _has_unsupported(document):
        structure = structural_errors(document, path)
        errors += structure
        if not structure:
            errors += _default_errors(document, path)
    errors += _Standard(root=True).check(document, path)
    return tuple(dict.fromkeys(errors))


def _has_unsupported(document: Document) -> bool:
    """Whether a schema has keywords without a structural meaning, which are refused anyway."""
    if any(document.get(each) not in (None, "", {}) for each in _UNSUPPORTED):
        return True
    if isinstance(document.get("items"), list) or document.get(PRESERVE) is False:
        return True
    return any(_has_unsupported(part.document) for part in parts(document, ""))


def _root_errors(document: Document, path: str, *, has_status: bool) -> Errors:
    if has_status:
        name = document.get("type") or ""
        if name and name != "object":
            detail = (
                'only "object" is allowed as the type at the root of the schema if the status '
                "subresource is enabled"
            )
            yield invalid(child(path, "type"), name, detail)
        present = {each for each, value in document.items() if value not in (None, False, "")}
        if present - set(_ROOT_KEYWORDS):
            detail = (
                f"only [{_ROOT_NAMES}] fields are allowed at the root of the schema if the status "
                "subresource is enabled"
            )
            yield invalid(path, document, detail)
    if document.get("nullable"):
        yield forbidden(child(path, "nullable"), "nullable cannot be true at the root")


# Defaults


def _default_errors(document: Document, path: str) -> list[FieldError]:
    try:
        schema = parse_schema(document)
    except BadSchema as error:
        return [invalid(path, "", str(error))]
    return list(_defaults(as_root(schema), path, inside_meta=False))


def _defaults(schema: Schema, path: str, *, inside_meta: bool) -> Errors:
    if schema.default is not None:
        yield from _default(schema, child(path, "default"), inside_meta=inside_meta)
    if schema.items is not None:
        yield from _defaults(schema.items, child(path, "items"), inside_meta=inside_meta)
    for name, inner in schema.properties.items():
        meta = inside_meta or (schema.embedded and name in META_FIELDS)
        where = key(child(path, "properties"), name)
        yield from _defaults(inner, where, inside_meta=meta and not inner.embedded)


def _default(schema: Schema, path: str, *, inside_meta: bool) -> Errors:
    value = schema.default
    if not inside_meta and not equal(prune(value, schema, root=schema.embedded)[0], value):
        yield invalid(path, value, "must not have unknown fields")
    malformed = coerce_metadata(value, schema)[2] or embedded_errors(value, schema)
    if malformed:
        yield from (each.at(path) for each in malformed)
    else:
        yield from validate(value, schema, prefix=path)


# Keyword by keyword


@dataclass(frozen=True, slots=True)
class _Standard:
    """The checks of every schema, at every depth.

    Attributes:
        root: this is the root.
        in_meta: inside apiVersion, kind or metadata of a resource.
        no_defaults: why defaults are refused here.
    """

    root: bool = False
    in_meta: bool = False
    no_defaults: str = ""

    def check(self, document: Document, path: str) -> Errors:
        """What is wrong with a schema and what is inside it."""
        yield from self._keywords(document, path)
        additional = document.get("additionalProperties")
        if additional is not None and document.get("properties") and additional is not True:
            yield forbidden(
                child(path, "additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            )
        yield from _list_type(document, path)
        yield from _map_type(document, path)
        if document.get(PRESERVE) is False:
            yield invalid(child(path, PRESERVE), document[PRESERVE], "must be true or undefined")
        for part in parts(document, path):
            inner = self._inside(part, document)
            yield from inner.check(part.document, part.path)

    def _keywords(self, document: Document, path: str) -> Errors:
        name = document.get("type") or ""
        if name and name not in _TYPES:
            yield not_supported(child(path, "type"), name, _TYPES)
        if name == "null":
            yield forbidden(
                child(path, "type"), "type cannot be set to null, use nullable as an alternative"
            )
        if document.get("default") is not None and self.no_defaults:
            yield forbidden(child(path, "default"), f"must not be set {self.no_defaults}")
        for each in _UNSUPPORTED:
            if document.get(each) not in (None, "", {}):
                yield forbidden(child(path, each), f"{each} is not supported")
        if isinstance(document.get("items"), list):
            yield forbidden(child(path, "items"), "items must be a schema object and not an array")
        if self.in_meta and document.get(EMBEDDED):
            yield forbidden(child(path, EMBEDDED), "must not be used inside of resource meta")
        if document.get("uniqueItems"):
            yield forbidden(
                child(path, "uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            )

    def _inside(self, part: Part, document: Document) -> "_Standard":
        inner = replace(self, root=False)
        if part.keyword == "additionalProperties" and self.in_meta:
            return replace(
                inner, no_defaults="inside additionalProperties applying to object metadata"
            )
        resource = self.root or bool(document.get(EMBEDDED))
        if part.keyword == "properties" and resource and part.name in META_FIELDS:
            reason = f"in top-level {part.name}" if self.root else inner.no_defaults
            return replace(inner, in_meta=True, no_defaults=reason)
        return inner


def _map_type(document: Document, path: str) -> Errors:
    kind = document.get(MAP_TYPE)
    if kind is None:
        return
    name = document.get("type") or ""
    if name != "object":
        yield _wrong_type(child(path, "type"), name, f"must be object if {MAP_TYPE} is specified")
    if kind not in ("atomic", "granular"):
        yield not_supported(child(path, MAP_TYPE), kind, ("atomic", "granular"))


def _wrong_type(path: str, name: str, detail: str) -> FieldError:
    return invalid(path, name, detail) if name else required(path, detail)


def _list_type(document: Document, path: str) -> Errors:
    kind = document.get(LIST_TYPE)
    keys = document.get(LIST_MAP_KEYS) or []
    items = document.get("items")
    where = child(path, LIST_TYPE)
    if keys and kind != "map":
        detail = f"must be map if {LIST_MAP_KEYS} is non-empty"
        yield invalid(where, kind, detail) if kind else required(where, detail)
    if kind is None:
        return
    name = document.get("type") or ""
    if name != "array":
        yield _wrong_type(child(path, "type"), name, f"must be array if {LIST_TYPE} is specified")
    if kind not in ("atomic", "set", "map"):
        yield not_supported(where, kind, ("atomic", "set", "map"))
    if kind in ("set", "map") and isinstance(items, dict) and items.get("nullable"):
        detail = f"cannot be nullable when {LIST_TYPE} is {kind}"
        yield forbidden(child(child(path, "items"), "nullable"), detail)
    if kind == "set" and isinstance(items, dict):
        yield from _set_items(items, child(path, "items"))
    if kind == "map":
        yield from _map_keys(keys, items, path)


def _set_items(items: Document, path: str) -> Errors:
    detail = f"must be atomic as item of a list with {LIST_TYPE}=set"
    if items.get("type") == "array" and items.get(LIST_TYPE) not in (None, "atomic"):
        yield invalid(child(path, LIST_TYPE), items[LIST_TYPE], detail)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        yield invalid(child(path, MAP_TYPE), items.get(MAP_TYPE), detail)


def _map_keys(keys: list[str], items: Any, path: str) -> Errors:
    where = child(path, LIST_MAP_KEYS)
    if not keys:
        yield required(where, f"must not be empty if {LIST_TYPE} is map")
    if not isinstance(items, dict):
        detail = f"must have a schema if {LIST_TYPE} is map"
        yield required(child(path, "items"), detail)
        return
    if items.get("type") != "object":
        detail = f"must be object if parent array's {LIST_TYPE} is map"
        yield invalid(child(child(path, "items"), "type"), items.get("type") or "", detail)
        return
    if len(set(keys)) != len(keys):
        yield invalid(where, keys, "must not contain duplicate entries")
    properties = items.get("properties") or {}
    for name in keys:
        if name not in properties:
            yield invalid(where, keys, "entries must all be names of item properties")
            continue
        there = key(child(child(path, "items"), "properties"), name)
        yield from _map_key(name, properties[name], items, there)


def _map_key(name: str, schema: Document, items: Document, path: str) -> Errors:
    if schema.get("type") in ("array", "object"):
        detail = f"must be a scalar type if parent array's {LIST_TYPE} is map"
        yield invalid(child(path, "type"), schema["type"], detail)
    if name not in (items.get("required") or ()) and schema.get("default") is None:
        yield required(
            child(path, "default"),
            f"this property is in {LIST_MAP_KEYS}, so it must have a default or be a required "
            "property",
        )
    if schema.get("nullable"):
        detail = f"this property is in {LIST_MAP_KEYS}, so it cannot be nullable"
        yield forbidden(child(path, "nullable"), detail)
