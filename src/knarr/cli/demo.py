"""``knarr demo``: what ``make run`` shows a newcomer."""

import http.client
import os
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from knarr.cli import instance
from knarr.cli.build import build_folder
from knarr.cli.context import Target, connected, run, target_of
from knarr.cli.deploy import deploy_document
from knarr.cli.manifests import read_manifests
from knarr.cli.output import STDERR, STDOUT, CommandError, ExitCode, reported
from knarr.cli.unixhttp import get_unix
from knarr.cli.up import launch, print_summary
from knarr.config import Settings, default_data_dir
from knarr.resources.core.pod import POD

PARK_DEADLINE_S = 10.0


class Answer(msgspec.Struct, frozen=True):
    """One request as a newcomer sees it."""

    status: int
    body: str
    duration_ms: float
    server_timing: str


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(demo)


def demo(
    context: typer.Context,
    example: Annotated[Path, typer.Argument(help="folder with source and service.yaml")] = Path(
        "examples/hello-python"
    ),
    http_port: Annotated[int, typer.Option(help="port for requests")] = 80,
) -> None:
    """Start Knarr, build and deploy an example, watch it scale to zero and answer again.

    Example: knarr demo examples/hello-python
    """
    target = target_of(context)
    with reported():
        manifest = example / "service.yaml"
        if not manifest.exists():
            raise CommandError(
                f"{manifest} is missing", "name a folder with a service.yaml", ExitCode.USAGE
            )
        settings = instance.running_settings(target.paths)
        if settings is None:
            settings = Settings(data_dir=str(target.data_dir), http_port=http_port)
            launch(target, settings)
        print_summary(settings)
        show(target, settings, example, manifest)


def show(target: Target, settings: Settings, example: Path, manifest: Path) -> None:
    """The demonstration itself, on a running instance."""
    built = build_folder(target, example, example.resolve().name, "host")
    STDOUT.print(f"built {built.reference} ({built.size_bytes / 1024:.0f} KiB)")
    document = read_manifests(str(manifest))[0]
    name, namespace = document["metadata"]["name"], document["metadata"].get("namespace", "default")
    started = target.clock.monotonic()
    service = deploy_document(target, document, namespace, 120.0)
    url = service.status.url if service.status and service.status.url else ""
    STDOUT.print(
        f"deployed {name}: Ready in {target.clock.monotonic() - started:.2f} s at [bold]{url}[/]"
    )
    warm = ask(target, settings, url)
    STDOUT.print(f"first answer: {warm.status} {warm.body!r} in {warm.duration_ms:.1f} ms")
    wait_for_zero(target, name, namespace)
    wait_until_parked(target)
    cold = ask(target, settings, url)
    STDOUT.print(f"answer from zero: {cold.status} {cold.body!r} in {cold.duration_ms:.1f} ms")
    STDOUT.print(timing_table(cold.server_timing))
    STDOUT.print("Knarr keeps running. Next:")
    for command in (
        f"curl {url}",
        f'eval "$({program(target)} env)" && kubectl get ksvc,revisions,pods',
        f"{program(target)} logs {name} -f",
    ):
        STDOUT.print(f"  {command}", markup=False)
    STDOUT.print(f"[dim]{program(target)} down (or make down) ends it.[/]")


def program(target: Target) -> str:
    """How a person calls this program again."""
    own = ".venv/bin/knarr" if Path(".venv/bin/knarr").exists() else "knarr"
    if target.data_dir == default_data_dir(os.environ, os.geteuid()):
        return own
    return f"{own} --data-dir {target.data_dir}"


def ask(target: Target, settings: Settings, url: str) -> Answer:
    """One request through the gateway, as curl would send it.

    Raises:
        CommandError: it did not answer 200.
    """
    host = url.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(settings.http_address, settings.http_port, timeout=60)
    started = target.clock.monotonic()
    try:
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        body = response.read().decode(errors="replace").strip()
    finally:
        connection.close()
    duration_ms = (target.clock.monotonic() - started) * 1000
    if response.status != 200:
        raise CommandError(f"{url} answered {response.status}: {body[:200]}", "look into the logs")
    return Answer(response.status, body, duration_ms, response.headers.get("server-timing") or "")


def wait_for_zero(target: Target, name: str, namespace: str) -> None:
    """Wait until the Service has no replica left."""

    async def body() -> None:
        selector = f"serving.knative.dev/service={name}"
        async with connected(target) as connection:
            page = await connection.client.list(POD, namespace, label_selector=selector)
            left = {pod.metadata.name for pod in page}
            query = {
                "watch": "true",
                "labelSelector": selector,
                "resourceVersion": page.resource_version,
            }
            if not left:
                return
            path = POD.collection_path(namespace)
            async with connection.transport.watch(path, query=query) as events:
                async for line in events:
                    event = msgspec.json.decode(line)
                    pod_name = event["object"]["metadata"]["name"]
                    left.discard(pod_name) if event["type"] == "DELETED" else left.add(pod_name)
                    if not left:
                        return

    with STDERR.status("waiting for scale to zero (the example's window is short)"):
        run(body)
    STDOUT.print("scaled to zero: no replica runs")


def wait_until_parked(target: Target) -> None:
    """Give the node agent the moment it takes to make the next sandbox ready."""
    deadline = target.clock.monotonic() + PARK_DEADLINE_S
    with STDERR.status("waiting until a sandbox is parked"):
        while target.clock.monotonic() < deadline:
            reply = get_unix(target.paths.node_socket, "/v1/status")
            if reply is not None and msgspec.json.decode(reply.body)["parked"]["count"]:
                STDOUT.print("parked: a sandbox is made and waits, its application not started")
                return
            signal.sigtimedwait((), 0.05)


def timing_table(server_timing: str) -> Table:
    """``Server-Timing`` for people: where a cold start's time went."""
    meanings = {
        "queue": "waiting for a replica, in all",
        "activate": "the node agent's part of it",
        "sandbox": "- making the sandbox",
        "start": "- starting the application",
        "probe": "- until the application listened",
        "connect": "connection to the container",
        "app": "the application's own time",
    }
    table = Table("COLD START", "MS", "", box=None, pad_edge=False)
    for entry in filter(None, (part.strip() for part in server_timing.split(","))):
        name, *parameters = entry.split(";")
        values = dict(part.partition("=")[::2] for part in parameters)
        note = values.get("desc", "").strip('"')
        table.add_row(name, values.get("dur", ""), f"{meanings.get(name, '')} {note}".strip())
    return table
