"""CustomResourceDefinitions as a whole: what is refused.

Source of rules and texts: ``apiextensions-apiserver/pkg/apis/apiextensions/validation``.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from knarr.apiserver.structural.checking import schema_errors
from knarr.apiserver.structural.jsonpath import BadPath, parse_path
from knarr.apiserver.structural.paths import BadFieldPath, field_at
from knarr.apiserver.structural.schema import BadSchema, Schema, parse_schema
from knarr.apiserver.structural.shapes import shape_errors
from knarr.apiserver.structural.texts import (
    child,
    duplicate,
    forbidden,
    invalid,
    joined,
    key,
    not_supported,
    required,
    too_many,
)
from knarr.apiserver.structural.validation import equal
from knarr.meta.fielderrors import FieldError
from knarr.meta.names import dns1035_label_problems, dns1123_subdomain_problems

Errors = Iterator[FieldError]
Document = Mapping[str, Any]

_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = (
    "byte", "date", "date-time", "double", "float", "int32", "int64", "password",
)  # fmt: skip
_MAX_SELECTABLE: Final = 8
_MIXED_CASE: Final = "may have mixed case, but should otherwise match: "


def definition_errors(definition: Document) -> tuple[FieldError, ...]:
    """What is wrong with a completed definition (schemas included; not the rules in CEL)."""
    malformed = shape_errors(definition)
    if malformed:
        return malformed
    spec = definition.get("spec")
    if spec is None:
        return (required("spec"),)
    names = spec.get("names") or {}
    errors: list[FieldError] = []
    name = (definition.get("metadata") or {}).get("name") or ""
    if name != f"{names.get('plural') or ''}.{spec.get('group') or ''}":
        errors.append(invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    errors += _group(spec.get("group") or "")
    errors += _scope(spec.get("scope") or "")
    errors += _versions(spec.get("versions") or [])
    errors += _names(names, "spec.names")
    errors += _conversion(spec.get("conversion") or {}, "spec.conversion")
    if spec.get("preserveUnknownFields"):
        if _has_defaults(spec):
            errors.append(
                invalid(
                    "spec.preserveUnknownFields",
                    spec["preserveUnknownFields"],
                    "must be false in order to use defaults in the schema",
                )
            )
        errors.append(
            invalid(
                "spec.preserveUnknownFields",
                spec["preserveUnknownFields"],
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
                "spec.versions[*].schema instead",
            )
        )
    return tuple(errors)


def _has_defaults(value: Any) -> bool:
    """Whether any schema of a definition has a default."""
    if isinstance(value, dict):
        return value.get("default") is not None or any(map(_has_defaults, value.values()))
    return isinstance(value, list) and any(map(_has_defaults, value))


def definition_update_errors(new: Document, old: Document) -> tuple[FieldError, ...]:
    """What an update of a definition may not change; ``definition_errors`` apply besides."""
    errors = list(shape_errors(new))
    if errors:
        return tuple(errors)
    now, before = new.get("spec") or {}, old.get("spec") or {}
    conditions = (old.get("status") or {}).get("conditions") or []
    established = any(
        each.get("type") == "Established" and each.get("status") == "True" for each in conditions
    )
    fixed = [(("group",), True), (("names", "plural"), True)]
    fixed += [(("scope",), established), (("names", "kind"), established)]
    for path, applies in fixed:
        mine, theirs = _at(now, path), _at(before, path)
        if applies and mine != theirs:
            errors.append(invalid(".".join(("spec", *path)), mine, "field is immutable"))
    errors += _stored(new, now)
    return tuple(errors)


def _at(document: Any, path: Iterable[str]) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _stored(new: Document, spec: Document) -> Errors:
    names = {version.get("name") for version in spec.get("versions") or []}
    for index, version in enumerate((new.get("status") or {}).get("storedVersions") or []):
        if version not in names:
            where = key("status.storedVersions", index)
            yield invalid(
                where, version, f"missing from spec.versions; {version} was previously a storage "
                "version, and must remain in spec.versions until a storage migration ensures no data "
                f"remains persisted in {version} and removes {version} from status.storedVersions",
            )  # fmt: skip


def _group(group: str) -> Errors:
    if not group:
        yield required("spec.group")
        return
    problems = dns1123_subdomain_problems(group)
    if problems:
        yield invalid("spec.group", group, joined(problems))
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def _scope(scope: str) -> Errors:
    if not scope:
        yield required("spec.scope")
    elif scope not in ("Cluster", "Namespaced"):
        yield not_supported("spec.scope", scope, ("Cluster", "Namespaced"))


def _names(names: Document, path: str) -> Errors:
    for field in ("plural", "singular", "kind", "listKind"):
        name = names.get(field) or ""
        where = child(path, field)
        if not name:
            yield required(where)
            continue
        cased = field in ("kind", "listKind")
        problems = dns1035_label_problems(name.lower() if cased else name)
        if problems:
            yield invalid(where, name, (_MIXED_CASE if cased else "") + joined(problems))
    for field in ("shortNames", "categories"):
        for index, name in enumerate(names.get(field) or []):
            problems = dns1035_label_problems(name)
            if problems:
                yield invalid(key(child(path, field), index), name, joined(problems))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        detail = "kind and listKind may not be the same"
        yield invalid(child(path, "listKind"), names["listKind"], detail)


def _conversion(conversion: Document, path: str) -> Errors:
    strategy = conversion.get("strategy") or ""
    where = child(path, "strategy")
    if strategy not in ("None", "Webhook"):
        yield not_supported(where, strategy, ("None", "Webhook")) if strategy else required(where)
    webhook = conversion.get("webhook")
    if strategy == "Webhook" and not (webhook or {}).get("clientConfig"):
        yield required(
            child(path, "webhookClientConfig"), "required when strategy is set to Webhook"
        )
    if strategy == "Webhook":
        yield from _review_versions((webhook or {}).get("conversionReviewVersions") or [], path)
    if strategy == "None" and webhook:
        yield forbidden(
            child(path, "webhookClientConfig"),
            "should not be set when strategy is not set to Webhook",
        )


def _review_versions(versions: list[str], path: str) -> Errors:
    where = child(path, "conversionReviewVersions")
    if not versions:
        yield required(where)
    elif not {"v1", "v1beta1"} & set(versions):
        yield invalid(where, versions, "must include at least one of v1, v1beta1")


# Versions


_SHARED: Final = {
    "schema": "spec.validation",
    "subresources": "spec.subresources",
    "additionalPrinterColumns": "spec.additionalPrinterColumns",
    "selectableFields": "spec.selectableFields",
}
"""Where Kubernetes reports problems of what all versions (or the only one) have in common."""


def _versions(versions: list[Document]) -> Errors:
    names = [version.get("name") or "" for version in versions]
    shared = {
        part
        for part in _SHARED
        if versions and all(equal(each.get(part), versions[0].get(part)) for each in versions)
    }
    for index, version in enumerate(versions):
        path = key("spec.versions", index)
        problems = dns1035_label_problems(names[index])
        if problems:
            yield invalid(child(path, "name"), names[index], joined(problems))
        yield from _deprecation(version, path)
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            yield required(child(path, "schema.openAPIV3Schema"))
            if version.get("selectableFields"):
                where = "spec.selectableFields" if "selectableFields" in shared else path
                yield invalid(where, "", "may only be set when validations.schema is included")
            continue
        places = {part: child(path, part) for part in _SHARED}
        for part in shared:
            places[part] = _SHARED[part] if index == 0 else ""
        yield from _version(version, places)
    if len(set(names)) != len(names):
        yield _wrong_versions(versions, shared, "must contain unique version names")
    if sum(1 for version in versions if version.get("storage") is True) != 1:
        detail = "must have exactly one version marked as storage version"
        yield _wrong_versions(versions, shared, detail)
    if versions and (problems := dns1035_label_problems(names[0])):
        yield invalid("spec.version", names[0], joined(problems))


def _wrong_versions(versions: list[Document], shared: set[str], detail: str) -> FieldError:
    # Kubernetes shows its own structures, whose fields have an order
    shown = msgspec.json.encode([_shown_version(each, shared) for each in versions] or None)
    return FieldError(
        message=f"Invalid value: {shown.decode()}", paths=("spec.versions",), details=detail
    )


def _shown_version(version: Document, shared: set[str]) -> dict[str, Any]:
    """A version as errors show it: what all have in common is kept elsewhere."""
    parts = {name: None if name in shared else version.get(name) for name in _SHARED}
    return {
        "Name": version.get("name") or "",
        "Served": bool(version.get("served")),
        "Storage": bool(version.get("storage")),
        "Deprecated": bool(version.get("deprecated")),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": parts["schema"],
        "Subresources": parts["subresources"],
        "AdditionalPrinterColumns": parts["additionalPrinterColumns"],
        "SelectableFields": parts["selectableFields"],
    }


def _version(version: Document, places: Mapping[str, str]) -> Errors:
    """What is wrong with the parts of a version; parts without a place were judged before."""
    subresources = version.get("subresources") or {}
    schema = version["schema"]["openAPIV3Schema"]
    if places["schema"]:
        where = child(places["schema"], "openAPIV3Schema")
        yield from schema_errors(schema, where, has_status=subresources.get("status") is not None)
    if places["subresources"]:
        yield from _scale(subresources.get("scale"), places["subresources"])
    if places["additionalPrinterColumns"]:
        for index, column in enumerate(version.get("additionalPrinterColumns") or []):
            yield from _column(column, key(places["additionalPrinterColumns"], index))
    if places["selectableFields"]:
        yield from _selectable(version, schema, places["selectableFields"])


def _deprecation(version: Document, path: str) -> Errors:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    where = child(path, "deprecationWarning")
    if not version.get("deprecated"):
        yield invalid(where, warning, "can only be set for deprecated versions")
    if not warning:
        yield invalid(where, warning, "must not be an empty string")
    elif len(warning) > 256:
        yield invalid(where, warning, "must be <= 256 characters long")
    elif not warning.isprintable():
        yield invalid(where, warning, "must only contain printable UTF-8 characters")


def _scale(scale: Document | None, path: str) -> Errors:
    if scale is None:
        return
    for field, roots, text in (
        ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
        ("statusReplicasPath", (".status.",), "should be a json path under .status"),
        (
            "labelSelectorPath",
            (".spec.", ".status."),
            "should be a json path under either .spec or .status",
        ),
    ):
        where = child(path, f"scale.{field}")
        value = scale.get(field) or ""
        if not value:
            if field != "labelSelectorPath":
                yield required(where)
        elif not value.startswith("."):
            yield invalid(where, value, "must be a simple json path starting with .")
        elif not value.startswith(roots):
            yield invalid(where, value, text)


def _column(column: Document, path: str) -> Errors:
    if not column.get("name"):
        yield required(child(path, "name"))
    kind, one_of = column.get("type") or "", f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        yield required(child(path, "type"), one_of)
    elif kind not in _COLUMN_TYPES:
        yield invalid(child(path, "type"), kind, one_of)
    form = column.get("format")
    if form and form not in _COLUMN_FORMATS:
        detail = f"must be one of {','.join(_COLUMN_FORMATS)}"
        yield invalid(child(path, "format"), form, detail)
    yield from _column_path(column.get("jsonPath") or "", child(path, "JSONPath"))


def _column_path(text: str, path: str) -> Errors:
    if not text:
        yield required(path)
    elif not text.startswith("."):
        yield invalid(path, text, "must be a simple json path starting with .")
    else:
        try:
            parse_path(text)
        except BadPath as error:
            yield invalid(path, text, str(error))


def _selectable(version: Document, document: Document, path: str) -> Errors:
    fields = version.get("selectableFields") or []
    if not fields:
        return
    try:
        schema = parse_schema(document)
    except BadSchema:
        # what is wrong with it was said already
        return
    seen: list[str] = []
    for index, each in enumerate(fields):
        where = child(key(path, index), "jsonPath")
        text = each.get("jsonPath") or ""
        yield from _selectable_field(text, schema, where)
        if text and text in seen:
            yield duplicate(where, text)
        seen.append(text)
    if len(set(seen)) > _MAX_SELECTABLE:
        yield too_many(path, len(set(seen)), _MAX_SELECTABLE)


def _selectable_field(text: str, schema: Schema, path: str) -> Errors:
    if not text:
        yield required(path)
        return
    try:
        found = field_at(text, schema)
    except BadFieldPath as error:
        yield invalid(path, text, f"is an invalid path: {error}")
        return
    if text.startswith(".metadata"):
        yield invalid(path, text, "must not point to fields in metadata")
    if found.types not in (("string",), ("boolean",), ("integer",)):
        yield invalid(
            path,
            text,
            "must point to a field of type string, boolean or integer. Enum string fields and "
            "strings with formats are allowed.",
        )
