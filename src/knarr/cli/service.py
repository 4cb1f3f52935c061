"""``knarr service create | update | apply | list | describe | delete | wait``, as kn has them."""

from collections.abc import Callable
from typing import Annotated

import typer

from knarr.cli.context import Connection, connected, run, target_of
from knarr.cli.deploy import wait_ready
from knarr.cli.manifests import apply_document, read_manifests
from knarr.cli.nouns.documents import (
    Document,
    Format,
    print_document,
    read,
    read_all,
    write,
)
from knarr.cli.nouns.edit import edit_service, new_service
from knarr.cli.nouns.flags import Edit, with_edit
from knarr.cli.nouns.serviceviews import describe, list_services
from knarr.cli.output import STDERR, STDOUT, CommandError, ExitCode, reported
from knarr.meta.errors import Conflict, NotFound
from knarr.meta.objects import Key
from knarr.resources.columns import get, items
from knarr.resources.serving.service import SERVICE

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="namespace")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, yaml or name")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="wait until it is Ready")]
WaitTimeout = Annotated[float, typer.Option("--wait-timeout", help="seconds to wait")]
Filename = Annotated[str, typer.Option("--filename", "-f", help="begin with what a file says")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="of the Service")]
_ATTEMPTS = 5


def register(app: typer.Typer) -> None:
    """Add the noun and its verbs."""
    noun = typer.Typer(no_args_is_help=True, help="Services: applications with a URL.")
    noun.command("create")(with_edit(create))
    noun.command("update")(with_edit(update))
    noun.command("apply")(with_edit(apply))
    noun.command("list")(list_services)
    noun.command("describe")(describe)
    noun.command("delete")(delete)
    noun.command("wait")(wait)
    app.add_typer(noun, name="service")


def base_document(name: str, namespace: str, filename: str) -> Document:
    """A new Service, or the one that a file has.

    Raises:
        CommandError: there is no name, or the file has something else.
    """
    if not filename:
        if not name:
            raise CommandError(
                "the Service has no name", "give NAME, or --filename", ExitCode.USAGE
            )
        return new_service(name, namespace)
    documents = read_manifests(filename)
    if len(documents) != 1 or documents[0].get("kind") != SERVICE.kind:
        raise CommandError(f"{filename} is to have one Knative Service", code=ExitCode.USAGE)
    document = documents[0]
    metadata = document.setdefault("metadata", {})
    if name and metadata.get("name", name) != name:
        raise CommandError(
            f"{filename} is about {metadata['name']!r}, not {name!r}", code=ExitCode.USAGE
        )
    if not name and not metadata.get("name"):
        raise CommandError(f"{filename} names no Service", "give NAME", ExitCode.USAGE)
    metadata.update(name=name or metadata["name"], namespace=namespace)
    document.setdefault("spec", {})
    return document


async def _finish(
    connection: Connection, key: Key, done: str, before: str, timeout_s: float
) -> Document:
    """Wait until a Service is Ready and say where it is, in kn's words.

    Args:
        connection: to the API.
        key: of the Service.
        done: what was done to it.
        before: name of the latest revision before.
        timeout_s: to wait at most.
    """
    with STDERR.status(f"waiting for {key.name}") as spinner:
        await wait_ready(
            connection, key, timeout_s, lambda text: spinner.update(f"{key.name}: {text}")
        )
    service = await read(connection, SERVICE, key)
    latest = str(get(service, "status", "latestReadyRevisionName") or "")
    words = f"{done} to latest revision '{latest}'"
    if latest == before:
        words = f"with latest revision '{latest}' (unchanged)"
    STDOUT.print(f"Service '{key.name}' {words} is available at URL:", markup=False)
    STDOUT.print(str(get(service, "status", "url") or ""), markup=False)
    return service


async def _settle(
    connection: Connection,
    document: Document,
    done: str,
    before: str,
    *,
    waits: bool,
    timeout_s: float,
    output: Format,
) -> None:
    key = Key(document["metadata"]["namespace"], document["metadata"]["name"])
    if output is not Format.TEXT:
        if waits:
            await wait_ready(connection, key, timeout_s, lambda _: None)
            document = await read(connection, SERVICE, key)
        print_document(document, SERVICE, output)
    elif waits:
        await _finish(connection, key, done, before, timeout_s)
    else:
        text = f"Service '{key.name}' {done} in namespace '{key.namespace}'."
        STDOUT.print(text, markup=False)


def create(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the Service")] = "",
    *,
    edit: Edit,
    namespace: Namespace = "default",
    filename: Filename = "",
    force: Annotated[bool, typer.Option("--force", help="replace one that is there")] = False,
    waits: Wait = True,
    wait_timeout: WaitTimeout = 600.0,
    output: Output = Format.TEXT,
) -> None:
    """Create a Service and wait until it is Ready.

    Example: knarr service create hello --image knarr.local/hello --env TARGET=voyage
    """
    with reported():
        desired = edit_service(base_document(name, namespace, filename), edit)
        _require_image(desired)
        key = Key(namespace, desired["metadata"]["name"])

        async def body() -> None:
            async with connected(target_of(context)) as connection:
                old = await _find(connection, key)
                if old is not None and not force:
                    raise CommandError(
                        f"cannot create service '{key.name}' in namespace '{namespace}' because the "
                        "service already exists and no --force option was given",
                        code=ExitCode.REFUSED,
                    )
                if old is None:
                    made = await write(connection, SERVICE, "POST", desired)
                else:
                    made = await _replace(connection, key, lambda live: _over(live, desired))
                done, before = ("created", "") if old is None else ("replaced", _latest(old))
                await _settle(
                    connection, made, done, before,
                    waits=waits, timeout_s=wait_timeout, output=output,
                )  # fmt: skip

        run(body)


def update(
    context: typer.Context,
    name: Name,
    *,
    edit: Edit,
    namespace: Namespace = "default",
    waits: Wait = True,
    wait_timeout: WaitTimeout = 600.0,
    output: Output = Format.TEXT,
) -> None:
    """Change a Service; what no flag names stays as it is.

    Example: knarr service update hello --env TARGET=moon --traffic @latest=100
    """
    with reported():
        if edit == Edit():
            raise CommandError("nothing to change", "knarr service update --help", ExitCode.USAGE)
        key = Key(namespace, name)

        async def body() -> None:
            async with connected(target_of(context)) as connection:
                old = await read(connection, SERVICE, key)
                made = await _replace(connection, key, lambda live: edit_service(live, edit))
                await _settle(
                    connection, made, "updated", _latest(old),
                    waits=waits, timeout_s=wait_timeout, output=output,
                )  # fmt: skip

        run(body)


def apply(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the Service")] = "",
    *,
    edit: Edit,
    namespace: Namespace = "default",
    filename: Filename = "",
    waits: Wait = True,
    wait_timeout: WaitTimeout = 600.0,
    output: Output = Format.TEXT,
) -> None:
    """Create a Service, or make one that was applied before what the flags say now.

    Example: knarr service apply hello --image knarr.local/hello
    """
    with reported():
        desired = edit_service(base_document(name, namespace, filename), edit)
        _require_image(desired)
        key = Key(namespace, desired["metadata"]["name"])

        async def body() -> None:
            async with connected(target_of(context)) as connection:
                old = await _find(connection, key)
                await apply_document(connection, desired, namespace, key.name)
                made = await read(connection, SERVICE, key)
                if old is not None and _generation(old) == _generation(made):
                    STDERR.print(f"No changes to apply to service '{key.name}'.", markup=False)
                await _settle(
                    connection, made,
                    "created" if old is None else "applied", _latest(old or {}),
                    waits=waits, timeout_s=wait_timeout, output=output,
                )  # fmt: skip

        run(body)


def _require_image(document: Document) -> None:
    containers = items(document, "spec", "template", "spec", "containers")
    if not all(get(one, "image") for one in containers):
        raise CommandError("the Service names no image", "--image IMAGE", ExitCode.USAGE)


async def _find(connection: Connection, key: Key) -> Document | None:
    try:
        return await read(connection, SERVICE, key)
    except NotFound:
        return None


def _generation(service: Document) -> int:
    return int(get(service, "metadata", "generation") or 0)


def _latest(service: Document) -> str:
    return str(get(service, "status", "latestReadyRevisionName") or "")


def _over(live: Document, desired: Document) -> Document:
    """The live object with another spec; who made it and its version stay."""
    metadata = dict(live["metadata"])
    kept = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key in ("serving.knative.dev/creator", "serving.knative.dev/lastModifier")
    }
    metadata["annotations"] = {**(desired["metadata"].get("annotations") or {}), **kept}
    metadata["labels"] = desired["metadata"].get("labels") or {}
    return {**live, "metadata": metadata, "spec": desired["spec"]}


async def _replace(
    connection: Connection, key: Key, change: Callable[[Document], Document]
) -> Document:
    """GET, change and PUT, again when somebody else was faster."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await write(
                connection, SERVICE, "PUT", change(await read(connection, SERVICE, key))
            )
        except Conflict:
            continue
    return await write(connection, SERVICE, "PUT", change(await read(connection, SERVICE, key)))


# --- ending and waiting ---------------------------------------------------------------------------------


def delete(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="of Services")
    ] = None,
    *,
    namespace: Namespace = "default",
    every: Annotated[bool, typer.Option("--all", help="all of the namespace")] = False,
) -> None:
    """Delete Services.

    Example: knarr service delete hello
    """
    with reported():
        if bool(names) == every:
            raise CommandError("which services?", "NAME..., or --all", ExitCode.USAGE)

        async def body() -> None:
            async with connected(target_of(context)) as connection:
                chosen = list(names or ())
                if every:
                    page = await read_all(connection, SERVICE, namespace)
                    chosen = [one["metadata"]["name"] for one in page["items"]]
                for name in chosen:
                    path = SERVICE.object_path(Key(namespace, name))
                    await connection.transport.request("DELETE", path)
                    text = f"Service '{name}' successfully deleted in namespace '{namespace}'."
                    STDOUT.print(text, markup=False)

        run(body)


def wait(
    context: typer.Context,
    name: Name,
    *,
    namespace: Namespace = "default",
    wait_timeout: WaitTimeout = 600.0,
) -> None:
    """Wait until a Service is Ready.

    Example: knarr service wait hello --wait-timeout 60
    """

    async def body() -> None:
        async with connected(target_of(context)) as connection:
            key = Key(namespace, name)
            await read(connection, SERVICE, key)
            await wait_ready(connection, key, wait_timeout, lambda _: None)
            STDOUT.print(f"Service '{name}' is ready in namespace '{namespace}'.", markup=False)

    with reported():
        run(body)
