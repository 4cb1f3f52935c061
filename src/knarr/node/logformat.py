"""The lines of container log files, in the CRI format. Pure.

``<RFC 3339 with nanoseconds> <stdout|stderr> <F|P> <text>``: F ends a line, P is a part of one that goes on.
A
text cannot forge a line, since a newline always ends one.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Stream = Literal["stdout", "stderr"]

MAX_LINE_BYTES = 16 * 1024


def format_time(moment: dt.datetime) -> str:
    """A moment as the log writes it: UTC, nine digits of fraction."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


class LineSplitter:
    """Cuts one stream's bytes into log lines; holds at most one unfinished line of 16 KiB."""

    __slots__ = ("_rest", "_stream", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._stream = stream.encode()
        self._rest = b""

    def feed(self, data: bytes, moment: str) -> bytes:
        """The encoded log lines that ``data`` completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        prefix = moment.encode() + b" " + self._stream
        out = bytearray()
        for line in lines:
            for start in range(0, max(len(line), 1), MAX_LINE_BYTES):
                piece = line[start : start + MAX_LINE_BYTES]
                tag = b" P " if start + MAX_LINE_BYTES < len(line) else b" F "
                out += prefix + tag + piece + b"\n"
        while len(rest) >= MAX_LINE_BYTES:
            out += prefix + b" P " + rest[:MAX_LINE_BYTES] + b"\n"
            rest = rest[MAX_LINE_BYTES:]
        self._rest = rest
        return bytes(out)

    def finish(self, moment: str) -> bytes:
        """What is left when the stream ends, as a full line."""
        if not self._rest:
            return b""
        line = moment.encode() + b" " + self._stream + b" F " + self._rest + b"\n"
        self._rest = b""
        return line


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log file; ``text`` has no newline unless the line is full."""

    time: str
    stream: str
    full: bool
    text: bytes


def parse_line(line: bytes) -> LogLine | None:
    """A line of a log file, without its newline; None when it is none (a torn write)."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    time, stream, tag, text = parts
    moment, name = time.decode("ascii", "replace"), stream.decode("ascii", "replace")
    return LogLine(moment, name, tag == b"F", text)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What ``kubectl logs`` may ask for.

    Attributes:
        follow: go on as lines arrive.
        tail_lines: only the last so many, or None.
        since: only lines at or after this moment, or None.
        timestamps: each line begins with its time.
        limit_bytes: end after so many bytes of answer, or None.
        stream: only lines of ``stdout`` or ``stderr``; empty for both.
    """

    follow: bool = False
    tail_lines: int | None = None
    since: dt.datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = ""


class LineRenderer:
    """Turns log lines into the bytes of an answer."""

    __slots__ = ("_fresh", "_left", "_options", "_since")

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._since = format_time(options.since) if options.since else ""
        self._left = options.limit_bytes
        self._fresh = True

    @property
    def exhausted(self) -> bool:
        """Whether ``limit_bytes`` is reached."""
        return self._left is not None and self._left <= 0

    def render(self, lines: Iterator[LogLine]) -> bytes:
        """The answer's bytes for the lines; parts are joined, times compare as text."""
        out = bytearray()
        for line in lines:
            if line.time < self._since or self._options.stream not in ("", line.stream):
                continue
            if self._fresh and self._options.timestamps:
                out += line.time.encode() + b" "
            out += line.text
            if line.full:
                out += b"\n"
            self._fresh = line.full
        if self._left is not None:
            del out[self._left :]
            self._left -= len(out)
        return bytes(out)
