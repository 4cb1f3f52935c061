"""``knarr build PATH``: source folder to image, without Docker."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from knarr.cli.context import Target, run, target_of
from knarr.cli.image import opened
from knarr.cli.output import (
    STDERR,
    STDOUT,
    CommandError,
    ExitCode,
    OutputFormat,
    print_json,
    reported,
)

Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="text or json")]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a build made. ``pinned`` names the image by digest, so that a redeploy sees the change."""

    reference: str
    pinned: str
    digest: str
    size_bytes: int


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(build)


def build_folder(target: Target, path: Path, name: str, base: str) -> Built:
    """Build a folder into the instance's image store, with progress.

    Raises:
        CommandError: there is nothing in the folder that could be run, or a step failed.
    """
    from knarr.functions.build import build_image

    if not path.is_dir():
        raise CommandError(f"{path} is no folder", "knarr build FOLDER", ExitCode.USAGE)
    with STDERR.status(f"building {name}") as spinner:

        async def body() -> Built:
            async with opened(target) as store:
                record = await build_image(
                    path,
                    store,
                    name=name,
                    base=base,
                    now=target.clock.wall(),
                    progress=lambda event: spinner.update(f"building {name}: {event}"),
                )
            repository = record.reference.partition("@")[0].rpartition(":")[0]
            return Built(
                reference=record.reference,
                pinned=f"{repository}@{record.digest}",
                digest=record.digest,
                size_bytes=record.size_bytes,
            )

        return run(body)


def build(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="a folder with the source")],
    name: Annotated[str, typer.Option(help="image name; default: the folder's")] = "",
    base: Annotated[
        str, typer.Option(help="base image, or host for this machine's interpreter")
    ] = "host",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Build an image from a Python folder (or one with a binary), without Docker.

    Example: knarr build ./examples/hello-python
    """
    target = target_of(context)
    with reported():
        built = build_folder(target, path, name or path.resolve().name.lower(), base)
        if output is OutputFormat.JSON:
            print_json(msgspec.to_builtins(built))
        else:
            STDOUT.print(f"{built.reference} {built.digest} {built.size_bytes / 2**20:.1f} MiB")
