"""``knarr route list | describe``: where requests go."""

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
from knarr.resources.serving.route import ROUTE

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="namespace")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, yaml or name")]


def register(app: typer.Typer) -> None:
    """Add the noun and its verbs."""
    noun = typer.Typer(no_args_is_help=True, help="Routes: URLs and where their requests go.")
    noun.command("list")(list_routes)
    noun.command("describe")(describe)
    app.add_typer(noun, name="route")


def list_routes(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="only this one")] = "",
    *,
    namespace: Namespace = "default",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,
    output: Output = Format.TEXT,
) -> None:
    """List Routes.

    Example: knarr route list
    """

    async def body() -> Document:
        async with connected(target_of(context)) as connection:
            found = await read_all(connection, ROUTE, "" if all_namespaces else namespace)
            if name:
                found["items"] = [one for one in found["items"] if one["metadata"]["name"] == name]
            return found

    with reported():
        page = run(body)
        if output is not Format.TEXT:
            print_document(page, ROUTE, output)
            return
        if not page["items"]:
            STDOUT.print("No routes found.")
            return
        first = ("NAMESPACE",) if all_namespaces else ()
        rows = [
            (
                *((one["metadata"]["namespace"],) if all_namespaces else ()),
                one["metadata"]["name"],
                str(get(one, "status", "url") or ""),
                condition_columns(one)[1],
            )
            for one in page["items"]
        ]
        print_table((*first, "NAME", "URL", "READY"), rows)


def describe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the Route")],
    *,
    namespace: Namespace = "default",
    output: Output = Format.TEXT,
) -> None:
    """Show a Route: its URL, the revisions that get requests, and conditions.

    Example: knarr route describe hello
    """
    target = target_of(context)

    async def body() -> Document:
        async with connected(target) as connection:
            return await read(connection, ROUTE, Key(namespace, name))

    with reported():
        route = run(body)
        if output is not Format.TEXT:
            print_document(route, ROUTE, output)
            return
        for line in describe_lines(route, target.clock.wall().timestamp()):
            STDOUT.print(line, markup=False)


def describe_lines(route: Document, now: float) -> list[str]:
    """The lines of ``describe``; pure."""
    owners = [f"{one['kind']}/{one['name']}" for one in items(route, "metadata", "ownerReferences")]
    lines = [
        f"Name:       {route['metadata']['name']}",
        f"Namespace:  {route['metadata']['namespace']}",
        f"Age:        {age(route, now)}",
        f"URL:        {get(route, 'status', 'url') or ''}",
        f"Service:    {', '.join(owners)}",
        "",
        "Traffic Targets:",
    ]
    for one in items(route, "status", "traffic"):
        latest = "@latest " if get(one, "latestRevision") else ""
        name = f"({get(one, 'revisionName')})" if latest else str(get(one, "revisionName"))
        tag = f" #{get(one, 'tag')} {get(one, 'url')}" if get(one, "tag") else ""
        lines.append(f"  {get(one, 'percent') or 0:>3}%  {latest}{name}{tag}")
    lines += ["", "Conditions:", f"  {'OK':<3}{'TYPE':<24}{'AGE':>6} REASON"]
    lines += [
        f"  {mark:<3}{kind:<24}{when:>6} {reason}".rstrip()
        for mark, kind, when, reason in condition_lines(route, now)
    ]
    return lines
