"""Who owns which fields: the entries of ``metadata.managedFields``.

An entry is identified by manager, operation and subresource, and for updates also by apiVersion: an
applier has one entry, whatever version it applied last.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

from knarr.apiserver.fieldmanagement.fieldset import EMPTY, FieldSet, decode_set, encode_set
from knarr.kits.clock import format_timestamp, parse_timestamp

Operation = Literal["Apply", "Update"]

MAX_UPDATE_MANAGERS: Final = 10
ANCIENT: Final = "ancient-changes"
BEFORE_FIRST_APPLY: Final = "before-first-apply"
_FIELDS_V1: Final = "FieldsV1"


class Identity(NamedTuple):
    """What makes an entry the same entry."""

    manager: str
    operation: Operation
    api_version: str
    subresource: str


@dataclass(frozen=True, slots=True)
class Managed:
    """One entry.

    Attributes:
        manager: its name, ``kubectl`` or ``knarr``.
        operation: how it writes.
        api_version: in which ``fields`` are expressed.
        fields: what it owns.
        time: RFC 3339 of the last change, empty when unknown.
        subresource: through which it writes, empty for the object itself.
    """

    manager: str
    operation: Operation
    api_version: str
    fields: FieldSet = EMPTY
    time: str = ""
    subresource: str = ""

    @property
    def identity(self) -> Identity:
        """What makes this entry the same as another."""
        version = self.api_version if self.operation == "Update" else ""
        return Identity(self.manager, self.operation, version, self.subresource)


Managers = tuple[Managed, ...]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes now, and how.

    Attributes:
        manager: ``fieldManager`` of the request, or the User-Agent up to the first ``/``.
        api_version: of the document that is sent.
        now: the time of the write.
        subresource: ``status``, ``scale`` or empty.
    """

    manager: str
    api_version: str
    now: dt.datetime
    subresource: str = ""

    def entry(self, operation: Operation, fields: FieldSet = EMPTY) -> Managed:
        """This actor's entry, with the time of the write."""
        return Managed(
            manager=self.manager or "unknown",
            operation=operation,
            api_version=self.api_version,
            fields=fields,
            time=format_timestamp(self.now),
            subresource=self.subresource,
        )


def manager_name(field_manager: str, user_agent: str) -> str:
    """The manager of a write: the parameter, else the User-Agent's product, at most 128 characters."""
    if field_manager:
        return field_manager
    product = user_agent.partition("/")[0]
    return "".join(char for char in product if char.isprintable())[:128]


def field_manager_problems(name: str, *, required: bool) -> list[str]:
    """What is wrong with the parameter ``fieldManager``; empty when nothing is."""
    if not name:
        return ["is required for apply patch"] if required else []
    if len(name) > 128:
        return ["must not be longer than 128 characters"]
    for char in name:
        if not char.isprintable():
            return [f"invalid character U+{ord(char):04X} in field manager"]
    return []


# Documents


def decode_managers(entries: Any) -> Managers:
    """The entries of a document's ``metadata.managedFields``.

    Raises:
        ValueError: an entry is malformed; the message says what.
    """
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise ValueError("managedFields must be a list")  # noqa: TRY004 - a wrong value
    found: dict[Identity, Managed] = {}
    for index, entry in enumerate(entries):
        managed = _decode(entry, index)
        found[managed.identity] = managed
    return tuple(found.values())


def _decode(entry: Any, index: int) -> Managed:
    if not isinstance(entry, dict):
        raise ValueError(f"managedFields[{index}] must be an object")  # noqa: TRY004 - a wrong value
    operation = entry.get("operation")
    if operation not in ("Apply", "Update"):
        raise ValueError("operation must be `Apply` or `Update`")
    texts = {
        name: entry.get(name) or ""
        for name in ("manager", "apiVersion", "time", "subresource", "fieldsType")
    }
    if any(not isinstance(value, str) for value in texts.values()):
        raise ValueError(f"managedFields[{index}] has a field that must be a string")
    if not texts["apiVersion"]:
        raise ValueError("apiVersion must not be empty")
    if texts["fieldsType"] != _FIELDS_V1:
        kind = texts["fieldsType"]
        problem = f"invalid fieldsType {_quoted(kind)}" if kind else "missing fieldsType"
        raise ValueError(f"{problem} in managed fields entry {index}")
    if texts["time"]:
        parse_timestamp(texts["time"])
    return Managed(
        manager=texts["manager"],
        operation=operation,
        api_version=texts["apiVersion"],
        fields=decode_set(entry.get("fieldsV1") or {}),
        time=texts["time"],
        subresource=texts["subresource"],
    )


def _quoted(text: str) -> str:
    return f'"{text}"'


def encode_managers(managers: Managers) -> list[dict[str, Any]]:
    """The document of ``metadata.managedFields``: applies first, then by time and name."""
    return [_encode(managed) for managed in sorted(managers, key=_order)]


def _encode(managed: Managed) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if managed.manager:
        entry["manager"] = managed.manager
    entry |= {"operation": managed.operation, "apiVersion": managed.api_version}
    if managed.time:
        entry["time"] = managed.time
    entry |= {"fieldsType": _FIELDS_V1, "fieldsV1": encode_set(managed.fields)}
    if managed.subresource:
        entry["subresource"] = managed.subresource
    return entry


def _order(managed: Managed) -> tuple[str, float, str, str, str]:
    return (
        managed.operation,
        _seconds(managed.time),
        managed.manager,
        managed.api_version,
        managed.subresource,
    )


def _seconds(time: str) -> float:
    return parse_timestamp(time).timestamp() // 1 if time else 0.0


def with_managers(document: Mapping[str, Any], managers: Managers) -> dict[str, Any]:
    """The document with these entries as its ``metadata.managedFields``; without the field for none."""
    metadata = dict(document.get("metadata") or {})
    metadata.pop("managedFields", None)
    if managers:
        metadata["managedFields"] = encode_managers(managers)
    return {**document, "metadata": metadata}


def entries_of(document: Mapping[str, Any] | None) -> Any:
    """The raw ``metadata.managedFields`` of a document."""
    metadata = document.get("metadata") if document is not None else None
    return metadata.get("managedFields") if isinstance(metadata, Mapping) else None


# Sets of entries


def without_empty(managers: Sequence[Managed]) -> Managers:
    """The entries that own something."""
    return tuple(managed for managed in managers if managed.fields)


def capped(managers: Managers, limit: int = MAX_UPDATE_MANAGERS) -> Managers:
    """At most ``limit`` entries of updates: the oldest are merged into one per apiVersion."""
    updates = sorted(
        (managed for managed in managers if managed.operation == "Update"),
        key=lambda managed: (_seconds(managed.time), managed.identity),
    )
    count = len(updates)
    found = {managed.identity: managed for managed in managers}
    first: dict[str, Identity] = {}
    for managed in updates:
        if count <= limit:
            break
        version = managed.api_version
        if version not in first:
            first[version] = managed.identity
            continue
        bucket = Identity(ANCIENT, "Update", version, "")
        if bucket not in found:
            oldest = found.pop(first[version])
            found[bucket] = replace(oldest, manager=ANCIENT, subresource="")
        if managed.identity == bucket:
            continue
        merged = found[bucket]
        found[bucket] = replace(merged, fields=merged.fields | managed.fields, time=managed.time)
        del found[managed.identity]
        count -= 1
    return tuple(found.values())
