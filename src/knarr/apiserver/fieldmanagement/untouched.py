"""Entries that a write does not concern stay as they are stored: neither decoded nor encoded again."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from knarr.apiserver.fieldmanagement.fieldset import FieldSet
from knarr.apiserver.fieldmanagement.managers import Actor


class Split(NamedTuple):
    """Stored entries, divided by a write.

    Attributes:
        concerned: the write takes fields from them, or they are the writer's own.
        others: the rest.
    """

    concerned: list[dict[str, Any]]
    others: list[dict[str, Any]]


def split(entries: list[dict[str, Any]], changed: FieldSet, actor: Actor) -> Split:
    """Divide well-formed entries, as this server stores them, by what a write changed."""
    concerned: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for entry in entries:
        fields = entry.get("fieldsV1") or {}
        is_concerned = _is_own(entry, actor) or touches(fields, changed)
        (concerned if is_concerned else others).append(entry)
    return Split(concerned, others)


def _is_own(entry: Mapping[str, Any], actor: Actor) -> bool:
    return (
        entry.get("manager", "") == (actor.manager or "unknown")
        and entry.get("operation") == "Update"
        and entry.get("subresource", "") == actor.subresource
    )


def touches(fields: Mapping[str, Any], changed: FieldSet) -> bool:
    """Whether a FieldsV1 document and a set have a path in common."""
    for element, below in changed.children.items():
        inner = fields.get(element)
        if inner is None:
            continue
        if below.member and (not inner or "." in inner):
            return True
        if below.children and inner and touches(inner, below):
            return True
    return False


def in_stored_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Applies first, then by time and name; times are RFC 3339 in UTC, so their texts compare."""
    return sorted(entries, key=_order)


def _order(entry: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    return (
        entry.get("operation", ""),
        entry.get("time", ""),
        entry.get("manager", ""),
        entry.get("apiVersion", ""),
        entry.get("subresource", ""),
    )
