"""``knarr image load | pull | list | rm | prune``: the images on this machine.

The store is shared by processes, so these commands work whether Knarr runs or not; only ``prune`` asks the
running instance, which alone knows what its revisions need.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from knarr.cli.context import Target, run, target_of
from knarr.cli.instance import require_running
from knarr.cli.output import (
    STDERR,
    STDOUT,
    CommandError,
    ExitCode,
    OutputFormat,
    print_json,
    reported,
)
from knarr.cli.unixhttp import post_unix

if TYPE_CHECKING:
    from knarr.node.images.records import ImageRecord
    from knarr.node.images.store import ImageStore

_PRUNE_TIMEOUT_S = 120.0

Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="text or json")]


def register(app: typer.Typer) -> None:
    """Add the noun and its verbs."""
    images = typer.Typer(no_args_is_help=True, help="The images on this machine.")
    images.command("load")(load)
    images.command("pull")(pull)
    images.command("list")(list_images)
    images.command("rm")(remove)
    images.command("prune")(prune)
    app.add_typer(images, name="image")


def local_store(target: Target) -> "ImageStore":
    """The instance's image store, without the means to pull."""
    from knarr.node.images.store import ImageStore

    return ImageStore(target.paths.images)


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator["ImageStore"]:
    """The instance's image store, able to pull."""
    # Imported here: most commands never touch an image.
    from knarr.node.images.pull import RegistryPuller
    from knarr.node.images.registry import RegistryClient
    from knarr.node.images.store import ImageStore

    rng = random.Random()  # noqa: S311 - jitter of retries
    async with RegistryClient(clock=target.clock, rng=rng) as client:
        yield ImageStore(target.paths.images, puller=RegistryPuller(client))


def load(
    context: typer.Context,
    archive: Annotated[
        Path, typer.Argument(help="OCI layout (folder or tar) or docker save archive")
    ],
    reference: Annotated[str, typer.Option("--name", help="the name to give the image")] = "",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Bring an image archive into the store.

    Example: knarr image load hello.tar
    """
    target = target_of(context)
    with reported():
        if not archive.exists():
            raise CommandError(f"{archive} does not exist", code=ExitCode.NOT_FOUND)
        with STDERR.status(f"loading {archive}") as spinner:

            async def body() -> "tuple[ImageRecord, ...]":
                async with opened(target) as store:
                    return await store.load(
                        archive,
                        reference=reference,
                        progress=lambda event: spinner.update(str(event)),
                    )

            records = run(body)
        _show(records, output)


def pull(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="image to pull")],
    output: Output = OutputFormat.TEXT,
) -> None:
    """Pull an image from its registry.

    Example: knarr image pull 127.0.0.1:5000/hello:1.0
    """
    target = target_of(context)
    with reported(), STDERR.status(f"pulling {reference}") as spinner:

        async def body() -> "ImageRecord":
            async with opened(target) as store:
                return await store.ensure(
                    reference,
                    policy="Always",
                    progress=lambda event: spinner.update(str(event)),
                )

        _show((run(body),), output)


def list_images(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Show the images on this machine.

    Example: knarr image list
    """
    with reported():
        _show(local_store(target_of(context)).list(), output)


def remove(
    context: typer.Context,
    references: Annotated[list[str], typer.Argument(help="references or sha256:… digests")],
) -> None:
    """Forget images; their content goes when nothing uses it any more.

    Example: knarr image rm knarr.local/hello-python:latest
    """
    target = target_of(context)
    with reported():
        store = local_store(target)
        for reference in references:
            if not store.remove(reference):
                raise CommandError(f"no image {reference}", "knarr image list", ExitCode.NOT_FOUND)
            STDOUT.print(f"{reference} removed")


def prune(
    context: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="also images that can be pulled again")
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Remove images that no name leads to and nothing uses; built and loaded ones with a name stay.

    Example: knarr image prune --all
    """
    target = target_of(context)
    with reported(), STDERR.status("looking for images that nothing needs"):
        require_running(target.paths)
        question = f"/v1/images/prune?all={'true' if everything else 'false'}"
        reply = post_unix(target.paths.node_socket, question, _PRUNE_TIMEOUT_S)
        if reply is None:
            raise CommandError("the node agent does not answer", "knarr status")
        answer = msgspec.json.decode(reply.body)
        if reply.status != 200:
            raise CommandError(str(answer.get("message", f"HTTP {reply.status}")))
        if output is OutputFormat.JSON:
            print_json(answer)
            return
        for reference in answer["references"]:
            STDOUT.print(f"{reference} removed")
        freed = answer["blobBytes"] / 2**20
        STDOUT.print(f"{answer['images']} images removed, {freed:.1f} MiB of downloads freed")


def _show(records: "tuple[ImageRecord, ...]", output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json([msgspec.to_builtins(record) for record in records])
        return
    table = Table("IMAGE", "DIGEST", "SIZE", box=None, pad_edge=False)
    for record in records:
        table.add_row(
            record.reference or "<none>", record.digest[:19], f"{record.size_bytes / 2**20:.1f} MiB"
        )
    STDOUT.print(table)
