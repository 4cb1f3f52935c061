"""``knarr revision list | describe | delete``: the snapshots of Services."""

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
from knarr.cli.output import STDOUT, CommandError, ExitCode, reported
from knarr.meta.objects import Key
from knarr.resources.columns import get, items
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.service import SERVICE

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="namespace")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, yaml or name")]
_SERVICE_LABEL = "serving.knative.dev/service"
_GENERATION_LABEL = "serving.knative.dev/configurationGeneration"


def register(app: typer.Typer) -> None:
    """Add the noun and its verbs."""
    noun = typer.Typer(no_args_is_help=True, help="Revisions: snapshots of Services.")
    noun.command("list")(list_revisions)
    noun.command("describe")(describe)
    noun.command("delete")(delete)
    app.add_typer(noun, name="revision")


def list_revisions(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="only this one")] = "",
    *,
    service: Annotated[str, typer.Option("--service", "-s", help="of this Service")] = "",
    namespace: Namespace = "default",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,
    output: Output = Format.TEXT,
) -> None:
    """List revisions, the newest first, with their share of the traffic.

    Example: knarr revision list -s hello
    """
    target = target_of(context)
    space = "" if all_namespaces else namespace

    async def body() -> tuple[Document, Document]:
        async with connected(target) as connection:
            labels = f"{_SERVICE_LABEL}={service}" if service else ""
            found = await read_all(connection, REVISION, space, labels)
            if name:
                found["items"] = [one for one in found["items"] if one["metadata"]["name"] == name]
            return found, await read_all(connection, SERVICE, space)

    with reported():
        page, services = run(body)
        page["items"].sort(key=_order, reverse=True)
        if output is not Format.TEXT:
            print_document(page, REVISION, output)
            return
        if not page["items"]:
            STDOUT.print("No revisions found.")
            return
        now = target.clock.wall().timestamp()
        headers = (
            "NAME",
            "SERVICE",
            "TRAFFIC",
            "TAGS",
            "GENERATION",
            "AGE",
            "CONDITIONS",
            "READY",
            "REASON",
        )
        print_table(headers, [revision_row(one, services["items"], now) for one in page["items"]])


def _order(revision: Document) -> tuple[str, int]:
    text = str((get(revision, "metadata", "labels") or {}).get(_GENERATION_LABEL, ""))
    return service_of(revision), int(text) if text.isdigit() else 0


def service_of(revision: Document) -> str:
    """The Service that a Revision belongs to, or empty."""
    return str((get(revision, "metadata", "labels") or {}).get(_SERVICE_LABEL, ""))


def shares_of(revision: Document, services: list[Document]) -> tuple[int, list[str]]:
    """The percent of its Service's traffic and the tags that a Revision has."""
    name, space = revision["metadata"]["name"], revision["metadata"]["namespace"]
    targets = [
        target
        for one in services
        if (one["metadata"]["name"], one["metadata"]["namespace"]) == (service_of(revision), space)
        for target in items(one, "status", "traffic")
        if get(target, "revisionName") == name
    ]
    percent = sum(get(target, "percent") or 0 for target in targets)
    return percent, [str(get(target, "tag")) for target in targets if get(target, "tag")]


def revision_row(revision: Document, services: list[Document], now: float) -> tuple[str, ...]:
    """A row of the list; pure."""
    percent, tags = shares_of(revision, services)
    labels = get(revision, "metadata", "labels") or {}
    return (
        revision["metadata"]["name"],
        service_of(revision),
        f"{percent}%" if percent else "",
        ",".join(tags),
        str(labels.get(_GENERATION_LABEL, "")),
        age(revision, now),
        *condition_columns(revision),
    )


def describe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the revision")],
    *,
    namespace: Namespace = "default",
    output: Output = Format.TEXT,
) -> None:
    """Show a revision: its image, environment, scale and conditions.

    Example: knarr revision describe hello-00001
    """
    target = target_of(context)

    async def body() -> Document:
        async with connected(target) as connection:
            return await read(connection, REVISION, Key(namespace, name))

    with reported():
        revision = run(body)
        if output is not Format.TEXT:
            print_document(revision, REVISION, output)
            return
        for line in describe_lines(revision, target.clock.wall().timestamp()):
            STDOUT.print(line, markup=False)


def describe_lines(revision: Document, now: float) -> list[str]:
    """The lines of ``describe``; pure."""
    lines = [
        f"Name:       {revision['metadata']['name']}",
        f"Namespace:  {revision['metadata']['namespace']}",
        f"Age:        {age(revision, now)}",
        f"Service:    {service_of(revision)}",
    ]
    for container in items(revision, "spec", "containers"):
        lines.append(f"Image:      {get(container, 'image')}")
        ports = [str(get(port, "containerPort")) for port in items(container, "ports")]
        if ports:
            lines.append(f"Port:       {', '.join(ports)}")
        env = [
            f"{get(one, 'name')}={get(one, 'value') or '...'}" for one in items(container, "env")
        ]
        if env:
            lines.append(f"Env:        {', '.join(env)}")
        for key in ("requests", "limits"):
            amounts = get(container, "resources", key) or {}
            if amounts:
                shown = ", ".join(f"{kind}={amount}" for kind, amount in sorted(amounts.items()))
                lines.append(f"{key.capitalize() + ':':<12}{shown}")
    actual, desired = (
        get(revision, "status", key) or 0 for key in ("actualReplicas", "desiredReplicas")
    )
    lines.append(f"Replicas:   {actual}/{desired}")
    lines += ["", "Conditions:", f"  {'OK':<3}{'TYPE':<24}{'AGE':>6} REASON"]
    lines += [
        f"  {mark:<3}{kind:<24}{when:>6} {reason}".rstrip()
        for mark, kind, when, reason in condition_lines(revision, now)
    ]
    return lines


def delete(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="of revisions")
    ] = None,
    *,
    namespace: Namespace = "default",
    prune: Annotated[str, typer.Option("--prune", help="those of a Service without traffic")] = "",
) -> None:
    """Delete revisions, or with --prune all of a Service that get no traffic and have no tag.

    Example: knarr revision delete --prune hello
    """
    with reported():
        if bool(names) == bool(prune):
            raise CommandError("which revisions?", "NAME..., or --prune SERVICE", ExitCode.USAGE)

        async def body() -> None:
            async with connected(target_of(context)) as connection:
                chosen = list(names or ())
                if prune:
                    service = await read(connection, SERVICE, Key(namespace, prune))
                    page = await read_all(
                        connection, REVISION, namespace, f"{_SERVICE_LABEL}={prune}"
                    )
                    chosen = unused(service, page["items"])
                for name in chosen:
                    path = REVISION.object_path(Key(namespace, name))
                    await connection.transport.request("DELETE", path)
                    STDOUT.print(
                        f"Revision '{name}' deleted in namespace '{namespace}'.", markup=False
                    )

        run(body)


def unused(service: Document, revisions: list[Document]) -> list[str]:
    """The names of the revisions that nothing refers to and that are not the newest; pure."""
    keep = {
        get(service, "status", key)
        for key in ("latestCreatedRevisionName", "latestReadyRevisionName")
    }
    for part in ("spec", "status"):
        keep |= {get(one, "revisionName") for one in items(service, part, "traffic")}
    names = [one["metadata"]["name"] for one in revisions]
    return [name for name in names if name not in keep]
