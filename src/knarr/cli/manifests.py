"""``knarr apply | get | delete``: objects of any kind, for people without kubectl."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import yaml
from rich.table import Table

from knarr.cli.context import Connection, connected, run, target_of
from knarr.cli.output import STDOUT, CommandError, ExitCode, print_json, reported
from knarr.cli.threeway import LAST_APPLIED, three_way_patch
from knarr.kube.transport import JSON, MERGE_PATCH
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.catalog import KINDS
from knarr.resources.kind import Kind

AnyKind = Kind[Any]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="namespace")]
Format = Annotated[str, typer.Option("--output", "-o", help="text, json or yaml")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(apply)
    app.command()(get)
    app.command()(delete)


def find_named_kind(name: str) -> AnyKind:
    """A kind by its plural, singular, short name or Kind, as kubectl takes them.

    Serving's ``service`` wins over the core one only as ``ksvc``: ambiguous names mean Kubernetes' kinds.

    Raises:
        CommandError: nobody knows it; the text lists what is known.
    """
    wanted, _, group = name.lower().partition(".")
    for kind in sorted(KINDS, key=lambda one: not one.builtin):
        names = {
            kind.plural,
            kind.singular or kind.kind.lower(),
            kind.kind.lower(),
            *kind.short_names,
        }
        if wanted in names and kind.group.startswith(group):
            return kind
    known = ", ".join(sorted(kind.qualified_plural for kind in KINDS))
    raise CommandError(f"unknown kind {name!r}", f"one of: {known}", ExitCode.USAGE)


def kind_of(document: Mapping[str, Any], source: str) -> AnyKind:
    """The kind that a manifest's apiVersion and kind name.

    Raises:
        CommandError: they are missing or unknown here.
    """
    api_version, kind_name = document.get("apiVersion"), document.get("kind")
    for kind in KINDS:
        if (kind.api_version, kind.kind) == (api_version, kind_name):
            return kind
    raise CommandError(
        f"{source}: no kind {kind_name!r} in {api_version!r} here",
        "knarr get --help names the kinds; check apiVersion and kind",
        ExitCode.USAGE,
    )


def read_manifests(source: str) -> list[dict[str, Any]]:
    """All documents of a YAML or JSON file, of standard input (``-``) or of a folder's files.

    Raises:
        CommandError: a file is absent or no YAML; the text names file, line and column.
    """
    if source == "-":
        return _parse(sys.stdin.read(), "standard input")
    path = Path(source)
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix in {".yaml", ".yml", ".json"})
        return [
            document for file in files for document in _parse(file.read_text("utf-8"), str(file))
        ]
    try:
        return _parse(path.read_text("utf-8"), source)
    except OSError as error:
        raise CommandError(f"{source}: {error.strerror}", code=ExitCode.USAGE) from error


def _parse(text: str, source: str) -> list[dict[str, Any]]:
    try:
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        raise CommandError(f"{source}: {error}", "correct the YAML", ExitCode.USAGE) from error
    for document in documents:
        if not isinstance(document, dict):
            raise CommandError(
                f"{source}: a manifest is a mapping with apiVersion, kind and metadata, not "
                f"{type(document).__name__}",
                code=ExitCode.USAGE,
            )
    return documents


async def apply_document(
    connection: Connection, document: dict[str, Any], namespace: str, source: str
) -> str:
    """Create or merge one object; ``created``, ``configured`` or ``unchanged``.

    Raises:
        StatusError: the server refused it.
    """
    kind = kind_of(document, source)
    metadata = dict(document.get("metadata") or {})
    if kind.namespaced:
        metadata.setdefault("namespace", namespace)
    desired = {**document, "metadata": metadata}
    annotations = dict(metadata.get("annotations") or {})
    plain = json.dumps(desired, separators=(",", ":"), default=str) + "\n"
    desired["metadata"] = {**metadata, "annotations": {**annotations, LAST_APPLIED: plain}}
    key = Key(metadata.get("namespace", "") if kind.namespaced else "", metadata.get("name", ""))
    query = {"fieldManager": "knarr", "fieldValidation": "Strict"}
    try:
        live = json.loads(await connection.transport.request("GET", kind.object_path(key)))
    except NotFound:
        body = msgspec.json.encode(desired)
        path = kind.collection_path(key.namespace)
        await connection.transport.request("POST", path, query=query, body=body, content_type=JSON)
        return "created"
    before = json.loads((live["metadata"].get("annotations") or {}).get(LAST_APPLIED) or "{}")
    patch = three_way_patch(before, desired, live)
    if not patch:
        return "unchanged"
    await connection.transport.request(
        "PATCH",
        kind.object_path(key),
        query=query,
        body=msgspec.json.encode(patch),
        content_type=MERGE_PATCH,
    )
    return "configured"


def apply(
    context: typer.Context,
    filename: Annotated[str, typer.Option("--filename", "-f", help="file, folder or - for stdin")],
    namespace: Namespace = "default",
    output: Format = "text",
) -> None:
    """Create objects from YAML or JSON, or change them to what the file says.

    Example: knarr apply -f service.yaml
    """
    target = target_of(context)

    async def body() -> list[dict[str, str]]:
        results = []
        async with connected(target) as connection:
            for document in read_manifests(filename):
                outcome = await apply_document(connection, document, namespace, filename)
                name = (
                    f"{kind_of(document, filename).qualified_plural}/{document['metadata']['name']}"
                )
                results.append({"object": name, "outcome": outcome})
                if output != "json":
                    STDOUT.print(f"{name} {outcome}")
        return results

    with reported():
        results = run(body)
        if output == "json":
            print_json(results)


def get(
    context: typer.Context,
    kind_name: Annotated[str, typer.Argument(metavar="KIND", help="e.g. ksvc, pods, revisions")],
    name: Annotated[str, typer.Argument(help="one object; all without")] = "",
    namespace: Namespace = "default",
    *,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,
    output: Format = "text",
) -> None:
    """Show objects of a kind.

    Example: knarr get ksvc hello -o yaml
    """
    target = target_of(context)
    with reported():
        kind = find_named_kind(kind_name)

        async def body() -> dict[str, Any]:
            async with connected(target) as connection:
                space = namespace if kind.namespaced and not all_namespaces else ""
                path = kind.object_path(Key(space, name)) if name else kind.collection_path(space)
                return dict(json.loads(await connection.transport.request("GET", path)))

        document = run(body)
        if output == "json":
            print_json(document)
        elif output == "yaml":
            sys.stdout.write(yaml.safe_dump(document, sort_keys=False))
        else:
            items = [document] if name else document.get("items") or []
            STDOUT.print(_table(kind, items, target.clock.wall().timestamp()))


def _table(kind: AnyKind, items: Iterable[Mapping[str, Any]], now: float) -> Table:
    columns = [column for column in kind.columns if column.priority == 0]
    table = Table("NAME", *(column.name.upper() for column in columns), box=None, pad_edge=False)
    for item in items:
        cells = [column.cell(item, now) for column in columns]
        table.add_row(
            item["metadata"]["name"], *("" if cell is None else str(cell) for cell in cells)
        )
    return table


def delete(
    context: typer.Context,
    kind_name: Annotated[str, typer.Argument(metavar="[KIND]", help="e.g. ksvc")] = "",
    names: Annotated[list[str] | None, typer.Argument(help="objects to delete")] = None,
    filename: Annotated[
        str, typer.Option("--filename", "-f", help="delete what a file names")
    ] = "",
    namespace: Namespace = "default",
) -> None:
    """Delete objects by kind and name, or those that a file names.

    Example: knarr delete ksvc hello
    """
    target = target_of(context)

    def chosen() -> list[tuple[AnyKind, Key]]:
        if filename:
            documents = read_manifests(filename)
            pairs = [(kind_of(one, filename), one["metadata"]) for one in documents]
            return [
                (
                    kind,
                    Key(meta.get("namespace", namespace) if kind.namespaced else "", meta["name"]),
                )
                for kind, meta in pairs
            ]
        if not kind_name or not names:
            raise CommandError("nothing to delete", "knarr delete KIND NAME", ExitCode.USAGE)
        kind = find_named_kind(kind_name)
        return [(kind, Key(namespace if kind.namespaced else "", name)) for name in names]

    async def body() -> None:
        async with connected(target) as connection:
            for kind, key in chosen():
                await connection.transport.request("DELETE", kind.object_path(key))
                STDOUT.print(f"{kind.qualified_plural}/{key.name} deleted")

    with reported():
        run(body)
