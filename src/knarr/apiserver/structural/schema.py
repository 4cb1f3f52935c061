"""Structural schemas of custom resources, parsed once and used for every document."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from knarr.apiserver.structural.expressions import BadExpression, Matcher, compile_expression
from knarr.apiserver.structural.formats import effective_format

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
EMBEDDED: Final = "x-kubernetes-embedded-resource"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_MAP_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"
VALIDATIONS: Final = "x-kubernetes-validations"


class BadSchema(ValueError):
    """A schema that cannot be used; checks of the definition say why in detail."""


class Schema(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One node of a schema. Names are those of ``JSONSchemaProps``.

    Attributes:
        types: the allowed JSON types, empty for any.
        default: None for none.
        enum: None for any value.
        matcher: of ``pattern``.
        additional: the schema of undeclared entries, or whether there may be any (None: unsaid).
        negated: ``not``.
        preserve: undeclared fields are kept.
        embedded: an object with apiVersion, kind and metadata of its own.
    """

    types: tuple[str, ...] = ()
    nullable: bool = False
    format: str = ""
    default: Any = None
    enum: tuple[Any, ...] | None = None
    maximum: float | None = None
    exclusive_maximum: bool = False
    minimum: float | None = None
    exclusive_minimum: bool = False
    multiple_of: float | None = None
    max_length: int | None = None
    min_length: int | None = None
    pattern: str = ""
    matcher: Matcher | None = None
    max_items: int | None = None
    min_items: int | None = None
    max_properties: int | None = None
    min_properties: int | None = None
    required: tuple[str, ...] = ()
    items: "Schema | None" = None
    properties: "Mapping[str, Schema]" = msgspec.field(default_factory=dict)
    additional: "Schema | bool | None" = None
    all_of: "tuple[Schema, ...]" = ()
    any_of: "tuple[Schema, ...]" = ()
    one_of: "tuple[Schema, ...]" = ()
    negated: "Schema | None" = None
    preserve: bool = False
    embedded: bool = False
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()

    def entry(self, name: str) -> "Schema | None":
        """The schema of an object's entry, None when nothing is said of it."""
        found = self.properties.get(name)
        if found is not None:
            return found
        return self.additional if isinstance(self.additional, Schema) else None


def parse_schema(document: Mapping[str, Any]) -> Schema:
    """The schema of ``openAPIV3Schema``.

    Raises:
        BadSchema: a part has the wrong type or a pattern does not compile. Schemas that passed
            ``schema_errors`` never raise.
    """
    try:
        return _parse(document)
    except (TypeError, AttributeError, BadExpression, RecursionError) as error:
        raise BadSchema(f"the schema cannot be used: {error}") from None


def _parse(document: Mapping[str, Any]) -> Schema:
    types = _types(document)
    additional = document.get("additionalProperties")
    pattern = document.get("pattern") or ""
    items = document.get("items")
    negated = document.get("not")
    return Schema(
        types=types,
        nullable=document.get("nullable") is True,
        format=effective_format(document.get("format") or "", types),
        default=document.get("default"),
        enum=tuple(document["enum"]) if document.get("enum") else None,
        maximum=document.get("maximum"),
        exclusive_maximum=document.get("exclusiveMaximum") is True,
        minimum=document.get("minimum"),
        exclusive_minimum=document.get("exclusiveMinimum") is True,
        multiple_of=document.get("multipleOf"),
        max_length=document.get("maxLength"),
        min_length=document.get("minLength"),
        pattern=pattern,
        matcher=compile_expression(pattern) if pattern else None,
        max_items=document.get("maxItems"),
        min_items=document.get("minItems"),
        max_properties=document.get("maxProperties"),
        min_properties=document.get("minProperties"),
        required=tuple(document.get("required") or ()),
        items=_parse(items) if items is not None else None,
        properties={
            name: _parse(inner) for name, inner in (document.get("properties") or {}).items()
        },
        additional=_parse(additional) if isinstance(additional, Mapping) else additional,
        all_of=_several(document.get("allOf")),
        any_of=_several(document.get("anyOf")),
        one_of=_several(document.get("oneOf")),
        negated=_parse(negated) if negated is not None else None,
        preserve=document.get(PRESERVE) is True,
        embedded=document.get(EMBEDDED) is True,
        list_type=document.get(LIST_TYPE) or "",
        list_map_keys=tuple(document.get(LIST_MAP_KEYS) or ()),
    )


def _types(document: Mapping[str, Any]) -> tuple[str, ...]:
    if document.get(INT_OR_STRING):
        return ("integer", "string")
    name = document.get("type") or ""
    return (name,) if name else ()


def _several(documents: Sequence[Mapping[str, Any]] | None) -> tuple[Schema, ...]:
    return tuple(_parse(document) for document in documents or ())
