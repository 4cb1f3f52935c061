"""What every command needs: where the instance lives and how to reach its API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import typer

from knarr.cli.instance import require_running
from knarr.config import Paths, Settings
from knarr.kits.clock import SystemClock

if TYPE_CHECKING:
    from knarr.kube.client import Client
    from knarr.kube.http import HttpTransport

R = TypeVar("R")


class Target(msgspec.Struct, frozen=True):
    """The instance that a command speaks to."""

    data_dir: Path

    @property
    def paths(self) -> Paths:
        """Where everything lies."""
        return Paths(self.data_dir)

    @property
    def clock(self) -> SystemClock:
        """The command line lives in real time."""
        return SystemClock()


def target_of(context: typer.Context) -> Target:
    """The target that the root command put into the context."""
    found = context.find_object(Target)
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection to the API and what it belongs to."""

    settings: Settings
    transport: "HttpTransport"
    client: "Client"


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Connection]:
    """A client of the running instance's API.

    Raises:
        CommandError: nothing runs in the data directory.
    """
    # Imported here: commands that need no API start twice as fast without it.
    from knarr.kube.client import Client
    from knarr.kube.http import HttpTransport, unix_endpoint

    settings = require_running(target.paths)
    async with HttpTransport(unix_endpoint(target.paths.api_socket)) as transport:
        yield Connection(settings, transport, Client(transport))


def run(main: Callable[[], Awaitable[R]]) -> R:
    """Run a command's coroutine."""

    async def body() -> R:
        return await main()

    return asyncio.run(body())
