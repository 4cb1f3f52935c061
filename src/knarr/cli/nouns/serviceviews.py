"""``knarr service list | describe``: what Services look like."""

from typing import Annotated

import typer

from knarr.cli.context import connected, run, target_of
from knarr.cli.nouns.documents import (
    Document,
    Format,
    age,
    condition_columns,
    condition_lines,
    print_document,
    print_table,
    read,
    read_all,
)
from knarr.cli.output import STDOUT, reported
from knarr.meta.objects import Key
from knarr.resources.columns import get, items
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.service import SERVICE

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="namespace")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, yaml or name")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="of the Service")]
_SERVICE_LABEL = "serving.knative.dev/service"


def list_services(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="only this one")] = "",
    *,
    namespace: Namespace = "default",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,
    output: Output = Format.TEXT,
) -> None:
    """List Services.

    Example: knarr service list -A
    """
    target = target_of(context)

    async def body() -> Document:
        async with connected(target) as connection:
            found = await read_all(connection, SERVICE, "" if all_namespaces else namespace)
            if name:
                found["items"] = [one for one in found["items"] if one["metadata"]["name"] == name]
            return found

    with reported():
        page = run(body)
        if output is not Format.TEXT:
            print_document(page, SERVICE, output)
            return
        if not page["items"]:
            STDOUT.print("No services found.")
            return
        now = target.clock.wall().timestamp()
        first = ("NAMESPACE",) if all_namespaces else ()
        headers = (*first, "NAME", "URL", "LATEST", "AGE", "CONDITIONS", "READY", "REASON")
        print_table(headers, [_row(one, now, spaced=all_namespaces) for one in page["items"]])


def _row(service: Document, now: float, *, spaced: bool) -> tuple[str, ...]:
    metadata = service["metadata"]
    return (
        *((metadata["namespace"],) if spaced else ()),
        metadata["name"],
        str(get(service, "status", "url") or ""),
        str(get(service, "status", "latestCreatedRevisionName") or ""),
        age(service, now),
        *condition_columns(service),
    )


def describe(
    context: typer.Context,
    name: Name,
    *,
    namespace: Namespace = "default",
    output: Output = Format.TEXT,
) -> None:
    """Show a Service: its URL, revisions with their traffic, and conditions.

    Example: knarr service describe hello
    """
    target = target_of(context)

    async def body() -> tuple[Document, Document]:
        async with connected(target) as connection:
            service = await read(connection, SERVICE, Key(namespace, name))
            label = f"{_SERVICE_LABEL}={name}"
            return service, await read_all(connection, REVISION, namespace, label)

    with reported():
        service, revisions = run(body)
        if output is not Format.TEXT:
            print_document(service, SERVICE, output)
            return
        now = target.clock.wall().timestamp()
        for line in describe_lines(service, revisions["items"], now):
            STDOUT.print(line, markup=False)


def describe_lines(service: Document, revisions: list[Document], now: float) -> list[str]:
    """The lines of ``describe``; pure."""
    by_name = {one["metadata"]["name"]: one for one in revisions}
    lines = [
        f"Name:       {service['metadata']['name']}",
        f"Namespace:  {service['metadata']['namespace']}",
        f"Age:        {age(service, now)}",
        f"URL:        {get(service, 'status', 'url') or ''}",
        "",
        "Revisions:",
    ]
    for one in items(service, "status", "traffic"):
        name = str(get(one, "revisionName") or "")
        revision = by_name.get(name, {})
        latest = "@latest " if get(one, "latestRevision") else ""
        tag = f" #{get(one, 'tag')}" if get(one, "tag") else ""
        shown = f"({name})" if latest else name
        lines.append(
            f"  {get(one, 'percent') or 0:>3}%  {latest}{shown}{tag} ({age(revision, now)})"
        )
        images = [get(container, "image") for container in items(revision, "spec", "containers")]
        lines += [f"        Image:     {image}" for image in images]
        if revision:
            actual = get(revision, "status", "actualReplicas") or 0
            lines.append(
                f"        Replicas:  {actual}/{get(revision, 'status', 'desiredReplicas') or 0}"
            )
    lines += ["", "Conditions:", f"  {'OK':<3}{'TYPE':<24}{'AGE':>6} REASON"]
    lines += [
        f"  {mark:<3}{kind:<24}{when:>6} {reason}".rstrip()
        for mark, kind, when, reason in condition_lines(service, now)
    ]
    return lines
