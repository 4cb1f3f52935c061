"""``knarr image load | pull | list | rm``: the instance's image store."""

from typing import Annotated

import typer

from knarr.cli.output import (
    OutputFormat,
)

Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="text or json")]


def register(app: typer.Typer) -> None:
    """Add the noun and its verbs."""
    images = typer.Typer(no_args_is_help=True, help="Images on this machine.")
    images.command("load")(load)
    images.command("pull")(pull)
    images.command("list")(list_images)
    images.command("rm")(remove)
    app.add_typer(images, name="image")
