"""The wire table: which field number of which message is which JSON field.

Facts of the public Kubernetes API, kept as package data and read at first need. It serves twice: to
decode protobuf bodies, and to tell a field that Kubernetes has from one that nobody knows.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

_GROUPS = {
    "": "core",
    "rbac.authorization.k8s.io": "rbac",
    "apiextensions.k8s.io": "apiextensions",
    "meta.k8s.io": "meta",
}


@dataclass(frozen=True, slots=True)
class WireField:
    """One field of a message.

    Attributes:
        name: in JSON; empty for an inline message whose fields belong to its parent.
        shape: ``one``, ``rep`` (repeated) or ``map``.
        type: a scalar's name or a message of the table.
        pointer: zero values are kept, because the Go field is a pointer.
        optional: left out when empty.
        inline: the fields of the message belong to the parent.
    """

    name: str
    shape: str
    type: str
    pointer: bool
    optional: bool
    inline: bool


class WireTable:
    """Messages by name, fields by number."""

    def __init__(self, types: dict[str, dict[str, list[Any]]]) -> None:
        self._raw = types
        self._messages: dict[str, dict[int, WireField]] = {}

    def __contains__(self, message: str) -> bool:
        return message in self._raw

    def fields(self, message: str) -> dict[int, WireField]:
        """The fields of a message by number.

        Raises:
            KeyError: the table has no such message.
        """
        known = self._messages.get(message)
        if known is None:
            known = self._messages[message] = {
                int(number): WireField(name, shape, kind, "p" in flags, "o" in flags, "i" in flags)
                for number, (name, shape, kind, flags) in self._raw[message].items()
            }
        return known

    def by_name(self, message: str) -> Iterator[WireField]:
        """The fields that a JSON document of this message has, inline ones included."""
        for field in self.fields(message).values():
            if field.inline and field.type in self._raw:
                yield from self.by_name(field.type)
            elif field.name:
                yield field

    def field(self, message: str, name: str) -> WireField | None:
        """The field behind a JSON name, or None."""
        if message not in self._raw:
            return None
        return next((field for field in self.by_name(message) if field.name == name), None)

    def message_of(self, group: str, version: str, kind: str) -> str | None:
        """The message that encodes a kind, or None when the table has none."""
        prefix = _GROUPS.get(group, group.split(".", maxsplit=1)[0])
        name = f"{prefix}/{version}.{kind}"
        return name if name in self._raw else None


class WireTables:
    """Loads the table once, when it is first asked for."""

    def __init__(self) -> None:
        self._table: WireTable | None = None

    def get(self) -> WireTable:
        """The table."""
        if self._table is None:
            text = resources.files(__package__).joinpath("wire.json").read_bytes()
            self._table = WireTable(json.loads(text)["types"])
        return self._table
