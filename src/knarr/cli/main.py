"""The root command.

Only the module of the command that was asked for is imported: ``knarr status`` need not know how images
are built.
"""

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from knarr import __version__
from knarr.cli.context import Target
from knarr.cli.output import STDOUT
from knarr.config import default_data_dir

MODULE_OF = {
    "up": "up",
    "down": "up",
    "status": "up",
    "doctor": "up",
    "env": "up",
    "deploy": "deploy",
    "explain": "explain",
    "service": "service",
    "revision": "revision",
    "route": "route",
    "logs": "logs",
    "exec": "exec",
    "build": "build",
    "image": "image",
    "apply": "manifests",
    "get": "manifests",
    "delete": "manifests",
    "demo": "demo",
    "crds": "crds",
    "controllers": "controllers",
}


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


def modules_for(arguments: Iterable[str]) -> list[str]:
    """The modules whose commands may be meant by a command line: one, or all when none is named."""
    named = [MODULE_OF[argument] for argument in arguments if argument in MODULE_OF]
    return list(dict.fromkeys(named or MODULE_OF.values()))


def build_app(modules: Iterable[str]) -> typer.Typer:
    """The command line with the commands of some modules."""
    app = typer.Typer(
        name="knarr",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for module in modules:
        import_module(f"knarr.cli.{module}").register(app)
    return app


def main() -> None:
    """Entry point of the ``knarr`` program."""
    build_app(modules_for(sys.argv[1:]))()


if __name__ == "__main__":
    main()
