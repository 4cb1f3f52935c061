"""Reading, writing and printing documents for the nouns."""

import enum
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import yaml

from knarr.cli.context import Connection
from knarr.cli.output import STDOUT, print_json
from knarr.kits.clock import parse_timestamp
from knarr.kube.transport import JSON
from knarr.meta.objects import Key
from knarr.resources.columns import get, human_duration, items
from knarr.resources.kind import Kind

Document = dict[str, Any]
AnyKind = Kind[Any]


class Format(enum.StrEnum):
    """The values of ``-o`` for nouns."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


async def read(connection: Connection, kind: AnyKind, key: Key) -> Document:
    """One object.

    Raises:
        NotFound: it is not there.
    """
    return dict(json.loads(await connection.transport.request("GET", kind.object_path(key))))


async def read_all(
    connection: Connection, kind: AnyKind, namespace: str, labels: str = ""
) -> Document:
    """All objects of a kind, as a list document; with a label selector only some."""
    query = {"labelSelector": labels} if labels else None
    path = kind.collection_path(namespace)
    return dict(json.loads(await connection.transport.request("GET", path, query=query)))


async def write(connection: Connection, kind: AnyKind, method: str, document: Document) -> Document:
    """POST or PUT an object; the server's answer.

    Raises:
        Conflict: a PUT was of an old version.
        StatusError: the server refused it.
    """
    metadata = document["metadata"]
    path = kind.collection_path(metadata["namespace"])
    if method == "PUT":
        path = kind.object_path(Key(metadata["namespace"], metadata["name"]))
    answer = await connection.transport.request(
        method,
        path,
        query={"fieldManager": "knarr", "fieldValidation": "Strict"},
        body=msgspec.json.encode(document),
        content_type=JSON,
    )
    return dict(json.loads(answer))


def print_document(document: Document, kind: AnyKind, output: Format) -> None:
    """An object or a list of them, as programs want it."""
    match output:
        case Format.JSON:
            print_json(document)
        case Format.YAML:
            sys.stdout.write(yaml.safe_dump(document, sort_keys=False))
        case _:
            for one in document.get("items", [document]):
                STDOUT.print(f"{kind.singular}.{kind.group}/{one['metadata']['name']}")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns side by side, as wide as they need: programs cut them, terminals wrap them."""
    table = [tuple(headers), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headers))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        STDOUT.print("   ".join(cells).rstrip(), markup=False)


def age(document: Document, now: float) -> str:
    """How long ago an object was made."""
    made = get(document, "metadata", "creationTimestamp")
    return human_duration(now - parse_timestamp(made).timestamp()) if made else ""


def condition_columns(document: Document) -> tuple[str, str, str]:
    """``3 OK / 3``, the Ready condition's status, and its reason unless it is True."""
    conditions = items(document, "status", "conditions")
    fine = sum(one.get("status") == "True" for one in conditions)
    ready: Document = next((one for one in conditions if one.get("type") == "Ready"), {})
    reason = "" if ready.get("status") == "True" else f"{ready.get('reason') or ''}"
    if reason and ready.get("message"):
        reason += f" : {ready['message']}"
    return f"{fine} OK / {len(conditions)}", str(ready.get("status") or "Unknown"), reason


def condition_lines(document: Document, now: float) -> list[tuple[str, str, str, str]]:
    """The rows of a description: mark, type, age, reason; Ready first."""
    rows = []
    marks = {"True": "++", "False": "!!"}
    found = items(document, "status", "conditions")
    for one in sorted(found, key=lambda item: (item["type"] != "Ready", item["type"])):
        since = one.get("lastTransitionTime")
        when = human_duration(now - parse_timestamp(since).timestamp()) if since else ""
        mark = marks.get(one.get("status", ""), "??")
        reason = str(one.get("reason") or "") if one.get("status") != "True" else ""
        rows.append((mark, str(one["type"]), when, reason))
    return rows
