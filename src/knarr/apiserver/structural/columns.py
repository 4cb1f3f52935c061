"""Printer columns of a definition: from ``additionalPrinterColumns`` to cells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from knarr.apiserver.structural.jsonpath import Path, PathFailure, find, parse_path
from knarr.apiserver.structural.texts import json_text, number
from knarr.kits.clock import parse_timestamp

Age = Callable[[float], str]
"""Seconds to the text of ``kubectl get``: ``5m``."""


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """One column.

    Attributes:
        type: ``integer``, ``number``, ``string``, ``boolean`` or ``date``.
        priority: above 0 only in wide output.
    """

    name: str
    type: str
    path: Path
    description: str
    format: str = ""
    priority: int = 0

    def cell(self, document: Mapping[str, Any], now: float, age: Age) -> object:
        """The column's value for a document, None when it has none.

        Args:
            document: the object.
            now: seconds since the epoch.
            age: how to write a duration.
        """
        try:
            found = find(document, self.path)
        except PathFailure:
            return None
        if not found:
            return None
        if self.type == "string":
            return _text(found[0])
        return _CELLS[self.type](found[0], now, age) if self.type in _CELLS else None


def parse_columns(definitions: list[Mapping[str, Any]] | None) -> tuple[PrinterColumn, ...]:
    """The columns of a version; Age alone when it defines none.

    Raises:
        BadPath: a ``jsonPath`` is malformed.
    """
    if not definitions:
        return (AGE,)
    return tuple(
        PrinterColumn(
            name=each["name"],
            type=each["type"],
            path=parse_path(each["jsonPath"]),
            description=each.get("description")
            or f"Custom resource definition column (in JSONPath format): {each['jsonPath']}",
            format=each.get("format") or "",
            priority=each.get("priority") or 0,
        )
        for each in definitions
    )


AGE: Final = PrinterColumn(
    name="Age",
    type="date",
    path=parse_path(".metadata.creationTimestamp"),
    description="CreationTimestamp is a timestamp representing the server time when this object was "
    "created. It is not guaranteed to be set in happens-before order across separate operations. "
    "Clients may not set this value. It is represented in RFC3339 form and is in UTC.",
)


def _text(value: Any) -> str:
    match value:
        case None:
            return "<no value>"
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case _:
            return json_text(value)


def _integer(value: Any, _now: float, _age: Age) -> object:
    return int(value) if _is_number(value) else None


def _number(value: Any, _now: float, _age: Age) -> object:
    return float(value) if _is_number(value) else None


def _boolean(value: Any, _now: float, _age: Age) -> object:
    return value if isinstance(value, bool) else None


def _date(value: Any, now: float, age: Age) -> object:
    if not isinstance(value, str):
        return None
    if not value:
        return "<unknown>"
    try:
        return age(now - parse_timestamp(value).timestamp())
    except ValueError:
        return "<invalid>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CELLS: Final[Mapping[str, Callable[[Any, float, Age], object]]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
}
