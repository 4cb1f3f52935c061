"""Validation rules while their definition is written: what is refused.

Source of rules and texts: ``apiextensions-apiserver/pkg/apis/apiextensions/validation``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from knarr.apiserver.cel.fieldpaths import normalized_path
from knarr.apiserver.cel.rules import VALIDATIONS, compiled
from knarr.apiserver.cel.schemas import Shape, shape_of
from knarr.apiserver.structural.texts import child, invalid, json_text, key, not_supported, required
from knarr.meta.fielderrors import FieldError

Document = Mapping[str, Any]
Errors = Iterator[FieldError]

_REASONS: Final = (
    "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired",
)  # fmt: skip
_TEXTS: Final = ("rule", "message", "messageExpression", "reason", "fieldPath")


def rule_errors(schema: Document, path: str) -> tuple[FieldError, ...]:
    """What is wrong with the rules of a resource's schema.

    Args:
        schema: free of other errors.
        path: of the schema in its definition.
    """
    places = list(_walk(schema, shape_of(schema, "self", root=True), path, ""))
    form = [error for place in places for error in _form(place.rule, place.schema, place.path)]
    return tuple(form or (error for place in places for error in _expressions(place)))


class _Place(NamedTuple):
    """Where a rule stands; ``uncorrelated`` is the list around it whose items have no identity."""

    rule: Document
    schema: Document
    shape: Shape | None
    path: str
    uncorrelated: str


def _walk(schema: Document, shape: Shape | None, path: str, uncorrelated: str) -> Iterator[_Place]:
    for index, rule in enumerate(schema.get(VALIDATIONS) or ()):
        yield _Place(rule, schema, shape, key(child(path, VALIDATIONS), index), uncorrelated)
    for name, inner in (schema.get("properties") or {}).items():
        place = shape.fields.get(name) if shape is not None else None
        there = key(child(path, "properties"), name)
        yield from _walk(inner, place[1] if place is not None else None, there, uncorrelated)
    inner_shape = shape.items if shape is not None else None
    additional, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(additional, Mapping):
        there = child(path, "additionalProperties")
        yield from _walk(additional, inner_shape, there, uncorrelated)
    if isinstance(items, Mapping):
        keyed = schema.get("x-kubernetes-list-type") == "map"
        yield from _walk(
            items,
            inner_shape,
            child(path, "items"),
            uncorrelated if keyed else uncorrelated or path,
        )


def _form(rule: Document, schema: Document, path: str) -> Errors:
    """What is wrong without looking into the expressions."""
    for name in _TEXTS:
        if not isinstance(rule.get(name), str | None):
            yield invalid(child(path, name), rule[name], "must be of type string")
            return
    if not isinstance(rule.get("optionalOldSelf"), bool | None):
        yield invalid(
            child(path, "optionalOldSelf"), rule["optionalOldSelf"], "must be of type boolean"
        )
        return
    yield from _texts(rule, path)
    reason, field_path = rule.get("reason"), rule.get("fieldPath") or ""
    if reason is not None and reason not in _REASONS:
        yield not_supported(child(path, "reason"), reason, _REASONS)
    where = child(path, "fieldPath")
    if field_path and not field_path.strip():
        yield invalid(where, field_path, "must be non-empty if specified")
    if "\n" in field_path:
        yield invalid(where, field_path, "must not contain line breaks")
    if field_path and normalized_path(field_path, schema) is None:
        yield invalid(where, field_path, "must be a valid path")


def _texts(rule: Document, path: str) -> Errors:
    source, message = rule.get("rule") or "", rule.get("message") or ""
    expression = rule.get("messageExpression") or ""
    where = child(path, "message")
    if not source.strip():
        yield required(child(path, "rule"), "rule is not specified")
    elif message and not message.strip():
        yield invalid(where, message, "must be non-empty if specified")
    elif "\n" in message.strip():
        yield invalid(where, message, "must not contain line breaks")
    elif "\n" in source.strip() and not message.strip():
        yield required(where, "message must be specified if rule contains line breaks")
    if expression and not expression.strip():
        yield required(
            child(path, "messageExpression"), "messageExpression must be non-empty if specified"
        )


def _expressions(place: _Place) -> Errors:
    rule, path = place.rule, place.path
    found, flaws = compiled(rule, place.schema, place.shape)
    for flaw in flaws:
        yield FieldError(
            message=f"Invalid value: {_shown(rule)}",
            paths=(child(path, flaw.part),),
            details=flaw.message,
        )
    if found.uses_old:
        if place.uncorrelated:
            detail = (
                "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                f"{place.uncorrelated}"
            )
            yield invalid(child(path, "rule"), rule["rule"], detail)
    elif rule.get("optionalOldSelf") is not None and found.program is not None:
        where = child(path, "optionalOldSelf")
        detail = "may not be set if oldSelf is not used in rule"
        yield invalid(where, rule["optionalOldSelf"], detail)


def _shown(rule: Document) -> str:
    """The rule as Kubernetes shows it in errors, its fields in their order there."""
    fields = {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
    return "{" + ",".join(f'"{name}":{json_text(value)}' for name, value in fields.items()) + "}"
