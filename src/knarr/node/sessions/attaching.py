"""Attach: a link joined with the streams of a container's own process."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from knarr.kits import channels
from knarr.meta.errors import StatusError, status_body
from knarr.meta.remotestatus import exit_status
from knarr.node.console import Console, set_size
from knarr.node.logformat import Stream
from knarr.node.sandbox import ContainerRun
from knarr.node.sessions.link import Link
from knarr.node.sessions.pipes import PipeWriter
from knarr.node.sessions.racing import first_of
from knarr.node.sessions.sizes import parse_size

_FULL_BYTES = 256 * 1024
_CHANNELS: dict[Stream, int] = {"stdout": channels.STDOUT, "stderr": channels.STDERR}


class OutputListener:
    """``logs.Listener``: what a container prints while somebody is attached, until they have taken it.

    Holds 256 KiB and what was in the pipes when the container ended; being full stops the pump.
    """

    __slots__ = ("_blocks", "_changed", "_ended", "_held", "_wanted", "reason")

    def __init__(self, wanted: frozenset[Stream]) -> None:
        self._wanted = wanted
        self._blocks: deque[tuple[int, bytes]] = deque()
        self._held = 0
        self._ended = False
        self._changed = asyncio.Event()
        self.reason = ""

    @property
    def full(self) -> bool:
        """See ``Listener.full``."""
        return self._held >= _FULL_BYTES and not self._ended

    def feed(self, stream: Stream, data: bytes) -> None:
        """See ``Listener.feed``."""
        if stream in self._wanted:
            self._blocks.append((_CHANNELS[stream], data))
            self._held += len(data)
            self._changed.set()

    def end(self, reason: str = "") -> None:
        """See ``Listener.end``."""
        self.reason = reason
        self._ended = True
        self._changed.set()

    async def next(self) -> tuple[int, bytes] | None:
        """The next block and its channel; None at the end."""
        while not self._blocks:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        channel, data = self._blocks.popleft()
        self._held -= len(data)
        return channel, data


async def run_attached(
    link: Link, run: ContainerRun, wanted: frozenset[str], end_input: Callable[[], None]
) -> None:
    """Join until the container has ended or the server is gone.

    Args:
        link: accepted.
        run: is running.
        wanted: of stdin, stdout and stderr.
        end_input: closes the container's input for good.
    """
    terminal = run.console is not None and run.console.terminal
    listener = OutputListener(_outputs(wanted, terminal=terminal))
    run.pump.listeners.add(listener)
    console = run.console if run.console is not None and "stdin" in wanted else None
    try:
        await first_of(
            partial(_output, link, run, listener),
            partial(_input, link, run.console, console, end_input),
            link.keep_alive,
        )
    finally:
        run.pump.listeners.discard(listener)
        run.pump.resume()
        if console is not None and console.interaction.once and not terminal:
            end_input()


def _outputs(wanted: frozenset[str], *, terminal: bool) -> frozenset[Stream]:
    if terminal:
        return frozenset({"stdout"}) if wanted & {"stdout", "stderr"} else frozenset()
    return frozenset(stream for stream in _CHANNELS if stream in wanted)


async def _output(link: Link, run: ContainerRun, listener: OutputListener) -> None:
    while (block := await listener.next()) is not None:
        run.pump.resume()
        channel, data = block
        await link.send(channel, data)
    status = status_body(StatusError(listener.reason)) if listener.reason else exit_status(0)
    await link.send(channels.ERROR, msgspec.json.encode(status))


async def _input(
    link: Link, terminal: Console | None, console: Console | None, end_input: Callable[[], None]
) -> None:
    """Returns when the server ends the session."""
    writer = None
    if console is not None and console.writable:
        writer = PipeWriter(os.dup(console.descriptor))
    try:
        while (message := await link.receive()) is not None:
            channel, data = message
            if channel == channels.STDIN and writer is not None:
                await writer.write(data)
            elif channel == channels.RESIZE and terminal is not None and terminal.terminal:
                size = parse_size(data)
                if size is not None:
                    set_size(terminal.descriptor, *size)
            elif channel == channels.CLOSE and writer is not None and _ends(console):
                writer.close()
                end_input()
    finally:
        if writer is not None:
            writer.close()


def _ends(console: Console | None) -> bool:
    """Whether the end of one client's input is the end of the container's."""
    return console is not None and console.interaction.once and not console.terminal
