"""``knarr logs NAME``: what a Service's containers printed."""

import asyncio
from typing import Annotated

import typer

from knarr.cli.context import Connection, connected, run, target_of
from knarr.cli.output import STDERR, STDOUT, reported
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.core.pod import POD, Pod
from knarr.resources.serving.service import SERVICE

SERVICE_LABEL = "serving.knative.dev/service"
USER_CONTAINER = "user-container"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(logs)


def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="a Service, or a Pod")],
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as lines arrive")] = False,
    tail: Annotated[int, typer.Option(help="last lines of each container; 0 is all")] = 0,
    container: Annotated[str, typer.Option("--container", "-c")] = "",
) -> None:
    """Print the logs of a Service's replicas (or of one Pod).

    Example: knarr logs hello -f
    """
    target = target_of(context)

    async def body() -> None:
        async with connected(target) as connection:
            pods = await pods_of(connection, Key(namespace, name))
            if not pods:
                STDERR.print(f"{name} has no replica now: it is scaled to zero; send it a request")
            async with asyncio.TaskGroup() as group:
                for pod in pods:
                    prefix = f"{pod.metadata.name} " if len(pods) > 1 else ""
                    chosen = container or first_container(pod)
                    group.create_task(
                        print_logs(connection, pod.key, chosen, prefix, tail, follow=follow)
                    )

    with reported():
        run(body)


def first_container(pod: Pod) -> str:
    """The user's container, else the first."""
    names = [one.name for one in pod.spec.containers] if pod.spec else []
    return USER_CONTAINER if USER_CONTAINER in names or not names else names[0]


async def pods_of(connection: Connection, key: Key) -> list[Pod]:
    """The Service's Pods, oldest first, or the one Pod of that name.

    Raises:
        NotFound: neither a Service nor a Pod is called so.
    """
    page = await connection.client.list(
        POD, key.namespace, label_selector=f"{SERVICE_LABEL}={key.name}"
    )
    if page.items:
        return sorted(page.items, key=lambda pod: pod.metadata.creation_timestamp or "")
    try:
        return [await connection.client.get(POD, key)]
    except NotFound:
        await connection.client.get(SERVICE, key)
        return []


async def print_logs(
    connection: Connection, key: Key, container: str, prefix: str, tail: int, *, follow: bool
) -> None:
    """Copy one container's log to standard output."""
    query = {"container": container}
    if tail:
        query["tailLines"] = str(tail)
    path = POD.object_path(key, "log")
    if not follow:
        for line in (await connection.transport.request("GET", path, query=query)).splitlines():
            _print(prefix, line)
        return
    async with connection.transport.watch(path, query={**query, "follow": "true"}) as lines:
        async for line in lines:
            _print(prefix, line)


def _print(prefix: str, line: bytes) -> None:
    STDOUT.print(prefix + line.decode(errors="replace").rstrip("\n"), markup=False)
