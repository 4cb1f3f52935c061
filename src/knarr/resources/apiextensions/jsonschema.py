"""JSON schemas as CustomResourceDefinitions carry them (``apiextensions/v1`` JSONSchemaProps)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from knarr.meta.objects import Struct

_X = "x-kubernetes-"


class ExternalDocumentation(Struct, frozen=True, kw_only=True):
    """Where more is written."""

    description: str | None = None
    url: str | None = None


class ValidationRule(Struct, frozen=True, kw_only=True):
    """A condition in CEL that values must meet, and what to say when they do not."""

    rule: str = ""
    message: str | None = None
    message_expression: str | None = None
    reason: str | None = None
    field_path: str | None = None
    optional_old_self: bool | None = None


class JSONSchemaProps(Struct, frozen=True, kw_only=True):
    """A JSON schema of the kind that Kubernetes calls structural."""

    id: str | None = None
    schema: str | None = msgspec.field(default=None, name="$schema")
    ref: str | None = msgspec.field(default=None, name="$ref")
    description: str | None = None
    type: str | None = None
    format: str | None = None
    title: str | None = None
    default: Any = None
    maximum: int | float | None = None
    exclusive_maximum: bool | None = None
    minimum: int | float | None = None
    exclusive_minimum: bool | None = None
    max_length: int | None = None
    min_length: int | None = None
    pattern: str | None = None
    max_items: int | None = None
    min_items: int | None = None
    unique_items: bool | None = None
    multiple_of: int | float | None = None
    enum: tuple[Any, ...] | None = None
    max_properties: int | None = None
    min_properties: int | None = None
    required: tuple[str, ...] | None = None
    items: "JSONSchemaProps | tuple[JSONSchemaProps, ...] | None" = None
    all_of: "tuple[JSONSchemaProps, ...] | None" = None
    one_of: "tuple[JSONSchemaProps, ...] | None" = None
    any_of: "tuple[JSONSchemaProps, ...] | None" = None
    not_: "JSONSchemaProps | None" = msgspec.field(default=None, name="not")
    properties: "Mapping[str, JSONSchemaProps] | None" = None
    additional_properties: "JSONSchemaProps | bool | None" = None
    pattern_properties: "Mapping[str, JSONSchemaProps] | None" = None
    dependencies: "Mapping[str, JSONSchemaProps | tuple[str, ...]] | None" = None
    additional_items: "JSONSchemaProps | bool | None" = None
    definitions: "Mapping[str, JSONSchemaProps] | None" = None
    external_docs: ExternalDocumentation | None = None
    example: Any = None
    nullable: bool | None = None
    preserve_unknown_fields: bool | None = msgspec.field(
        default=None, name=f"{_X}preserve-unknown-fields"
    )
    embedded_resource: bool | None = msgspec.field(default=None, name=f"{_X}embedded-resource")
    int_or_string: bool | None = msgspec.field(default=None, name=f"{_X}int-or-string")
    list_map_keys: tuple[str, ...] | None = msgspec.field(default=None, name=f"{_X}list-map-keys")
    list_type: str | None = msgspec.field(default=None, name=f"{_X}list-type")
    map_type: str | None = msgspec.field(default=None, name=f"{_X}map-type")
    validations: tuple[ValidationRule, ...] | None = msgspec.field(
        default=None, name=f"{_X}validations"
    )
