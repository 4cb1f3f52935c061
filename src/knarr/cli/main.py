"""The root command."""

import os
from pathlib import Path
from typing import Annotated

import typer

from knarr import __version__
from knarr.cli import build, demo, deploy, image, logs, manifests, up
from knarr.cli.context import Target
from knarr.cli.output import STDOUT
from knarr.config import default_data_dir


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer passes it so
    if value:
        STDOUT.print(f"knarr {__version__}")
        raise typer.Exit


def root(
    context: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="the one directory that holds everything", envvar="KNARR_DATA_DIR"),
    ] = None,
    *,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Serverless containers and events with the Knative API, without Kubernetes."""
    chosen = data_dir or default_data_dir(os.environ, os.geteuid())
    context.obj = Target(chosen.absolute())


def build_app() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="knarr",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for module in (up, deploy, logs, build, image, manifests, demo):
        module.register(app)
    return app


def main() -> None:
    """Entry point of the ``knarr`` program."""
    build_app()()


if __name__ == "__main__":
    main()
