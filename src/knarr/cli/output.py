"""How commands speak: to people with colours and progress, to programs with JSON, and by exit code."""

import enum
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console

from knarr.meta.errors import KnarrError, NotFound, StatusError, Timeout, Unavailable


class ExitCode(enum.IntEnum):
    """What a command's exit status means (README, "Exit codes")."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_FOUND = 4
    TIMEOUT = 5
    REFUSED = 6
    NOT_READY = 7


class OutputFormat(enum.StrEnum):
    """The values of ``-o``."""

    TEXT = "text"
    JSON = "json"


class CommandError(KnarrError):
    """A command cannot go on; the text says why and what to do."""

    def __init__(self, message: str, remedy: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code


STDOUT = Console(highlight=False, soft_wrap=True)
STDERR = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def fail(error: CommandError) -> NoReturn:
    """Print an error and leave with its code."""
    STDERR.print(f"[bold red]error:[/] {_escape(error.message)}")
    if error.remedy:
        STDERR.print(f"[bold]try:[/] {_escape(error.remedy)}")
    raise typer.Exit(int(error.code))


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


def command_error(error: Exception) -> CommandError:
    """What to tell a person about an error of a lower layer."""
    match error:
        case CommandError():
            return error
        case NotFound():
            return CommandError(error.message, code=ExitCode.NOT_FOUND)
        case Unavailable():
            return CommandError(
                f"Knarr does not answer: {error.message}", "knarr up", ExitCode.NOT_RUNNING
            )
        case Timeout():
            return CommandError(error.message, code=ExitCode.TIMEOUT)
        case StatusError():
            return CommandError(error.message, code=ExitCode.REFUSED)
        case _:
            return CommandError(str(error) or type(error).__name__)


@contextmanager
def reported() -> Iterator[None]:
    """Turn expected errors into a message and an exit code; anything else is a bug and shows itself."""
    try:
        yield
    except (KnarrError, OSError) as error:
        fail(command_error(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
