"""Tables and PartialObjectMetadata: the representations of objects that are not the object itself."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from knarr.apiserver.served import Served
from knarr.meta.errors import BadRequest
from knarr.resources.columns import since

Include = Literal["None", "Metadata", "Object"]


def parse_include(text: str) -> Include:
    """The ``includeObject`` parameter.

    Raises:
        BadRequest: an unknown value.
    """
    match text:
        case "" | "Metadata":
            return "Metadata"
        case "None" | "Object":
            return text
        case _:
            raise BadRequest(
                f'includeObject: Unsupported value: "{text}": supported values: "Metadata", "None", "Object"'
            )


def partial_metadata(document: dict[str, Any], version: str = "v1") -> dict[str, Any]:
    """The ``PartialObjectMetadata`` of a document."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": document["metadata"],
    }


def column_definitions(served: Served) -> list[dict[str, Any]]:
    """The columns of a kind's table."""
    kind = served.kind
    definitions = []
    if kind.named:
        definitions.append(_definition("Name", "string", "name", "The name of the object", 0))
    definitions += [
        _definition(column.name, column.type, column.format, column.description, column.priority)
        for column in kind.columns
    ]
    if kind.age:
        definitions.append(_definition("Age", "string", "", "How long ago the object was made", 0))
    return definitions


def _definition(name: str, kind: str, form: str, text: str, priority: int) -> dict[str, Any]:
    return {
        "name": name, "type": kind, "format": form, "description": text, "priority": priority,
    }  # fmt: skip


def table_row(
    served: Served, document: dict[str, Any], include: Include, version: str, now: float
) -> dict[str, Any]:
    """One object's cells."""
    metadata = document["metadata"]
    cells: list[object] = [metadata.get("name", "")] if served.kind.named else []
    cells += [column.cell(document, now) for column in served.kind.columns]
    if served.kind.age:
        cells.append(since(metadata.get("creationTimestamp"), now))
    row: dict[str, Any] = {"cells": cells}
    if include == "Metadata":
        row["object"] = partial_metadata(document, version)
    elif include == "Object":
        row["object"] = document
    else:
        row["object"] = None
    return row


def table(
    served: Served,
    items: Iterable[bytes],
    metadata: dict[str, Any],
    include: Include,
    version: str,
    now: float,
    *,
    headed: bool = True,
) -> dict[str, Any]:
    """A ``Table`` of encoded documents; ``headed`` says whether it defines its columns."""
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": column_definitions(served) if headed else None,
        "rows": [
            table_row(served, msgspec.json.decode(item), include, version, now) for item in items
        ],
    }
