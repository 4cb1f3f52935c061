"""Reads container logs back, for ``kubectl logs`` and for termination messages.

A reader that does not keep up with rotation loses the oldest lines, never the agent's memory.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from knarr.node.logformat import LineRenderer, LogLine, LogOptions, parse_line
from knarr.node.logs import LogFile

_BLOCK_BYTES = 256 * 1024
_LEAST_BYTES = 64 * 1024
_POLL_S = 1.0


def tail_of(path: Path, lines: int, max_bytes: int) -> str:
    """The text of the last lines of a log, for a termination message."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - max(_LEAST_BYTES, 4 * max_bytes)))
            parsed = [parse_line(line) for line in stream.read().splitlines()]
    except OSError:
        return ""
    texts = [line.text + (b"\n" if line.full else b"") for line in parsed if line is not None]
    return b"".join(texts[-lines:])[-max_bytes:].decode(errors="replace")


async def read_log(
    path: Path, options: LogOptions, growing: LogFile | None
) -> AsyncIterator[bytes]:
    """The answer to a log request, in blocks.

    Args:
        path: of the log file; absent is empty.
        options: what is asked for.
        growing: the file while its container runs, or None; ``follow`` ends with it.
    """
    renderer = LineRenderer(options)
    reader = _LogReader(path)
    try:
        for block in _existing(path, reader, options):
            if data := renderer.render(iter(block)):
                yield data
            if renderer.exhausted:
                return
        while options.follow:
            running = growing is not None and growing.alive
            if growing is not None:
                growing.grown.clear()
            while block := reader.next_block():
                if data := renderer.render(iter(block)):
                    yield data
                if renderer.exhausted:
                    return
            if not running or growing is None:
                return
            await _wait(growing.grown)
    finally:
        reader.close()


async def _wait(event: asyncio.Event) -> None:
    """A second at most: several readers share the event, and one of them may have cleared it."""
    try:
        async with asyncio.timeout(_POLL_S):
            await event.wait()
    except TimeoutError:
        return


def _existing(path: Path, reader: "_LogReader", options: LogOptions) -> Iterator[list[LogLine]]:
    older = sorted(path.parent.glob(f"{path.name}.*"))
    if options.tail_lines is not None:
        yield from _tail([path, *older], reader, options.tail_lines, options.stream)
        return
    for one in reversed(older):
        with one.open("rb") as stream:
            while block := stream.readlines(_BLOCK_BYTES):
                yield [line for raw in block if (line := parse_line(raw.rstrip(b"\n")))]
    while block_lines := reader.next_block():
        yield block_lines


def _tail(
    files: list[Path], reader: "_LogReader", count: int, stream: str
) -> Iterator[list[LogLine]]:
    """The last lines, looked for from the youngest file on; the reader goes on behind them."""
    found: list[list[LogLine]] = []
    for path in files:
        lines = last_lines(path, count, stream) if count else []
        found.append(lines)
        count -= sum(line.full for line in lines)
        if count <= 0:
            break
    reader.skip_existing()
    yield from reversed(found)


def last_lines(path: Path, count: int, stream: str = "") -> list[LogLine]:
    """The last ``count`` full lines of a file, of one stream or of both, with the parts before them."""
    data = b""
    lines: list[LogLine] = []
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            while position:
                step = min(_BLOCK_BYTES, position)
                position = file.seek(position - step)
                data = file.read(step) + data
                whole = data if not position else data.partition(b"\n")[2]
                parsed = (parse_line(one) for one in whole.split(b"\n"))
                lines = [one for one in parsed if one and stream in ("", one.stream)]
                if sum(line.full for line in lines) > count:
                    break
    except FileNotFoundError:
        return []
    surplus = sum(line.full for line in lines) - count
    start = 0
    while surplus > 0:
        surplus -= lines[start].full
        start += 1
    return lines[start:]


class _LogReader:
    """Reads whole lines of a file that grows and may be set aside meanwhile."""

    __slots__ = ("_path", "_rest", "_stream")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._rest = b""

    def next_block(self) -> list[LogLine]:
        """Lines that were not returned yet; empty when there are none now."""
        data = self._read()
        if not data:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        parsed = [parse_line(line) for line in lines]
        return [line for line in parsed if line is not None] or self.next_block()

    def skip_existing(self) -> None:
        """Go on with what is written from now on."""
        try:
            self._stream = self._path.open("rb")
        except FileNotFoundError:
            return
        self._stream.seek(0, os.SEEK_END)

    def _read(self) -> bytes:
        if self._stream is None:
            try:
                self._stream = self._path.open("rb")
            except FileNotFoundError:
                return b""
        data = self._stream.read(_BLOCK_BYTES)
        if data or not self._set_aside():
            return data
        self._stream.close()
        self._stream, self._rest = None, b""
        return self._read()

    def _set_aside(self) -> bool:
        assert self._stream is not None
        try:
            return self._path.stat().st_ino != os.fstat(self._stream.fileno()).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Release the file."""
        if self._stream is not None:
            self._stream.close()
