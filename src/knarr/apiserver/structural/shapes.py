"""The types of a definition's fields, so that everything after can rely on them."""

from typing import Any

import msgspec

from knarr.apiserver.structural.texts import NO_PATH
from knarr.meta.fielderrors import FieldError


class _Lenient(msgspec.Struct, rename="camel"):
    pass


class _Names(_Lenient):
    plural: str | None = None
    singular: str | None = None
    kind: str | None = None
    list_kind: str | None = None
    short_names: list[str] | None = None
    categories: list[str] | None = None


class _Column(_Lenient):
    name: str | None = None
    type: str | None = None
    format: str | None = None
    description: str | None = None
    priority: int | None = None
    json_path: str | None = None


class _Selectable(_Lenient):
    json_path: str | None = None


class _Scale(_Lenient):
    spec_replicas_path: str | None = None
    status_replicas_path: str | None = None
    label_selector_path: str | None = None


class _Subresources(_Lenient):
    status: dict[str, Any] | None = None
    scale: _Scale | None = None


class _Validation(_Lenient):
    open_apiv3_schema: dict[str, Any] | None = msgspec.field(name="openAPIV3Schema", default=None)


class _Version(_Lenient):
    name: str | None = None
    served: bool | None = None
    storage: bool | None = None
    deprecated: bool | None = None
    deprecation_warning: str | None = None
    schema: _Validation | None = None
    subresources: _Subresources | None = None
    additional_printer_columns: list[_Column] | None = None
    selectable_fields: list[_Selectable] | None = None


class _Conversion(_Lenient):
    strategy: str | None = None
    webhook: dict[str, Any] | None = None


class _Spec(_Lenient):
    group: str | None = None
    scope: str | None = None
    names: _Names | None = None
    versions: list[_Version] | None = None
    conversion: _Conversion | None = None
    preserve_unknown_fields: bool | None = None


class _Condition(_Lenient):
    type: str | None = None
    status: str | None = None


class _Status(_Lenient):
    conditions: list[_Condition] | None = None
    stored_versions: list[str] | None = None


class _Metadata(_Lenient):
    name: str | None = None


class _Definition(_Lenient):
    metadata: _Metadata | None = None
    spec: _Spec | None = None
    status: _Status | None = None


def shape_errors(definition: Any) -> tuple[FieldError, ...]:
    """The first field of a definition that has the wrong type, if any."""
    try:
        msgspec.convert(definition, _Definition)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        path = place.rstrip("`").removeprefix(".") or NO_PATH
        return (
            FieldError(
                message="Invalid value",
                paths=(path,),
                details=problem,
                reason="FieldValueTypeInvalid",
            ),
        )
    return ()
