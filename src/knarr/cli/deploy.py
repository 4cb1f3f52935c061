"""``knarr deploy PATH|IMAGE``: from a source folder or an image to a URL that answers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from knarr.cli.build import build_folder
from knarr.cli.context import Connection, Target, connected, run, target_of
from knarr.cli.manifests import apply_document
from knarr.cli.output import (
    STDERR,
    STDOUT,
    CommandError,
    ExitCode,
    OutputFormat,
    print_json,
    reported,
)
from knarr.meta.conditions import find_condition
from knarr.meta.names import dns1035_label_problems
from knarr.meta.objects import Key
from knarr.resources.serving.service import SERVICE, Service

Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="text or json")]
# A Service that failed may still recover (an image that is being pushed); after this long it is told.
FAILURE_WINDOW_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(deploy)


def service_document(
    name: str, namespace: str, image: str, env: dict[str, str], annotations: dict[str, str]
) -> dict[str, Any]:
    """The Knative Service that ``deploy`` applies."""
    container: dict[str, Any] = {"image": image}
    if env:
        container["env"] = [{"name": key, "value": value} for key, value in env.items()]
    template: dict[str, Any] = {"spec": {"containers": [container]}}
    if annotations:
        template["metadata"] = {"annotations": annotations}
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": template},
    }


def parse_pairs(pairs: list[str], flag: str) -> dict[str, str]:
    """``KEY=VALUE`` arguments.

    Raises:
        CommandError: one has no ``=``.
    """
    parsed = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise CommandError(f"{flag} {pair!r} is not KEY=VALUE", code=ExitCode.USAGE)
        parsed[key] = value
    return parsed


async def wait_ready(
    connection: Connection, key: Key, timeout_s: float, progress: Callable[[str], None]
) -> Service:
    """Follow a Service until it is Ready for its newest generation.

    Raises:
        CommandError: it failed for good or the time is over; the text says why.
    """
    query = {
        "watch": "true",
        "fieldSelector": f"metadata.name={key.name}",
        "resourceVersion": "0",
    }
    path = SERVICE.collection_path(key.namespace)
    last = "nothing is known of it yet"
    failed_since: float | None = None
    loop = asyncio.get_running_loop()
    try:
        async with (
            asyncio.timeout(timeout_s),
            connection.transport.watch(path, query=query) as events,
        ):
            while True:
                limit = (
                    None if failed_since is None else failed_since + FAILURE_WINDOW_S - loop.time()
                )
                line = await asyncio.wait_for(anext(events, None), limit)
                if line is None:
                    raise CommandError(f"the watch of service {key} ended", "knarr status")
                service = connection.client.codec.decode(
                    SERVICE, msgspec.json.encode(msgspec.json.decode(line)["object"])
                )
                state, last = readiness(service)
                if state == "True":
                    return service
                progress(last)
                failed_since = (failed_since or loop.time()) if state == "False" else None
    except TimeoutError:
        timed_out = failed_since is None
        what = f"is not Ready after {timeout_s:.0f} s" if timed_out else "failed"
        raise CommandError(
            f"service {key} {what}: {last}",
            f"knarr explain {key.name} -n {key.namespace}",
            ExitCode.TIMEOUT if timed_out else ExitCode.NOT_READY,
        ) from None


def readiness(service: Service) -> tuple[str, str]:
    """``True``, ``False`` or ``Unknown``, and why; an old generation's word does not count."""
    status = service.status
    if status is None or status.observed_generation != service.metadata.generation:
        return "Unknown", "waiting for the controllers"
    ready = find_condition(status.conditions, "Ready")
    if ready is None:
        return "Unknown", "waiting for the controllers"
    reason = ": ".join(part for part in (ready.reason, ready.message) if part)
    return ready.status, reason or "making it ready"


def deploy(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="PATH|IMAGE", help="a folder, or an image")],
    name: Annotated[
        str, typer.Option(help="name of the Service; default: of the folder or image")
    ] = "",
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="KEY=VALUE")] = None,
    annotation: Annotated[
        list[str] | None, typer.Option("--annotation", "-a", help="KEY=VALUE on the revision")
    ] = None,
    base: Annotated[str, typer.Option(help="base image of a built folder, or host")] = "host",
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="seconds to wait for Ready")
    ] = 120.0,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Deploy a source folder or an image as a Service, wait until it is Ready, print its URL.

    Example: knarr deploy ./examples/hello-python
    """
    target = target_of(context)
    with reported():
        chosen = name or default_name(source)
        problems = dns1035_label_problems(chosen)
        if problems:
            raise CommandError(
                f"{chosen!r} is no Service name: {problems[0]}", "--name NAME", ExitCode.USAGE
            )
        image = (
            build_folder(target, Path(source), chosen, base).pinned
            if Path(source).is_dir()
            else source
        )
        variables = parse_pairs(env or [], "--env")
        annotations = parse_pairs(annotation or [], "--annotation")
        document = service_document(chosen, namespace, image, variables, annotations)
        service = deploy_document(target, document, namespace, timeout_s)
        url = service.status.url if service.status else ""
        if output is OutputFormat.JSON:
            revision = service.status.latest_ready_revision_name if service.status else ""
            print_json({"service": chosen, "url": url, "image": image, "revision": revision})
        else:
            STDOUT.print(url)


def deploy_document(
    target: Target, document: dict[str, Any], namespace: str, timeout_s: float
) -> Service:
    """Apply a Service and wait with progress until it is Ready."""
    name = document["metadata"]["name"]

    async def body() -> Service:
        async with connected(target) as connection:
            with STDERR.status(f"deploying {name}") as spinner:
                await apply_document(connection, document, namespace, name)
                return await wait_ready(
                    connection,
                    Key(document["metadata"].get("namespace", namespace), name),
                    timeout_s,
                    lambda text: spinner.update(f"deploying {name}: {text}"),
                )

    return run(body)


def default_name(source: str) -> str:
    """The folder's name, or the image's last path part without tag and digest."""
    if Path(source).is_dir():
        base = Path(source).resolve().name
    else:
        base = source.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return base.lower().replace("_", "-").replace(".", "-")
