"""Container output: read from FIFOs or a terminal, written to rotated files, shown to whoever is attached.

The container holds both ends of its FIFOs, so an agent that dies neither ends nor blocks it until 1 MiB is
waiting; the agent that comes back goes on reading. Files rotate at 10 MiB; two older ones are kept.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from knarr.kits.clock import Clock
from knarr.node import syscalls
from knarr.node.layout import ContainerPaths
from knarr.node.logformat import (
    LineSplitter,
    Stream,
    format_time,
)

PIPE_BYTES = 1024 * 1024
_READ_BYTES = 64 * 1024
STALL_S = 5.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a log file is set aside and how many older ones stay."""

    max_bytes: int = 10 * 1024 * 1024
    older_files: int = 2


class LogFile:
    """The growing log of one run of a container; opened when something is written."""

    __slots__ = ("_descriptor", "_path", "_rotation", "_size", "alive", "grown")

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self.alive = True
        self._path = path
        self._rotation = rotation
        self._descriptor = -1
        self._size = 0
        self.grown = asyncio.Event()

    def append(self, lines: bytes) -> None:
        """Write whole lines; on a full disk they are dropped."""
        if not lines:
            return
        if self._descriptor < 0:
            self._open()
        elif self._size + len(lines) > self._rotation.max_bytes:
            self._rotate()
        try:
            self._size += os.write(self._descriptor, lines)
        except OSError:
            return
        self.grown.set()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        for number in range(self._rotation.older_files - 1, 0, -1):
            older = older_file(self._path, number)
            if older.exists():
                older.replace(older_file(self._path, number + 1))
        self._path.replace(older_file(self._path, 1))
        self._open()

    def close(self) -> None:
        """Nothing more will be written."""
        self.alive = False
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.grown.set()


def older_file(path: Path, number: int) -> Path:
    """The name of a rotated file; 1 is the youngest."""
    return path.with_name(f"{path.name}.{number}")


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors that become a container's output; close them once it is created."""

    stdout: int
    stderr: int

    def close(self) -> None:
        """Close both."""
        os.close(self.stdout)
        os.close(self.stderr)


def make_stdio(paths: ContainerPaths) -> Stdio:
    """Make the FIFOs of a container and open them for it."""
    descriptors = []
    for path in (paths.stdout, paths.stderr):
        os.mkfifo(path, 0o600)
        # The container's user reopens it as /dev/stdout; nobody else can reach the directory.
        path.chmod(0o666)
        # Reading and writing: such an open never waits, and the container outlives its reader.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        syscalls.set_pipe_capacity(descriptor, PIPE_BYTES)
        descriptors.append(descriptor)
    return Stdio(*descriptors)


class Listener(Protocol):
    """Somebody who gets a container's output as it arrives."""

    @property
    def full(self) -> bool:
        """Whether it has enough for now."""
        ...

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take a block; must not fail."""
        ...

    def end(self, reason: str = "") -> None:
        """Nothing follows: the container has ended, or the reason why this listener gets no more."""
        ...


class LogPump:
    """Moves one container's output from its FIFOs or terminal into its log file, until it ends.

    Listeners get what arrives while they are there. One that is full stops the reading, hence in the end
    the container, for ``STALL_S`` at most; then it is dropped.
    """

    __slots__ = ("_clock", "_paused", "_readers", "file", "listeners")

    def __init__(self, file: LogFile, clock: Clock) -> None:
        self.file = file
        self.listeners: set[Listener] = set()
        self._clock = clock
        self._readers: dict[int, LineSplitter] = {}
        self._paused: asyncio.TimerHandle | None = None

    def start(self, paths: ContainerPaths, terminal: int = -1) -> None:
        """Begin to read; the container must hold its ends already.

        Args:
            paths: of the container, with its FIFOs.
            terminal: read instead of them when it is a descriptor; it stays the caller's.
        """
        loop = asyncio.get_running_loop()
        if terminal >= 0:
            descriptor = os.dup(terminal)
            os.set_blocking(descriptor, False)
            self._readers[descriptor] = LineSplitter("stdout")
            loop.add_reader(descriptor, self._read, descriptor)
            return
        streams: tuple[tuple[Path, Stream], ...] = (
            (paths.stdout, "stdout"),
            (paths.stderr, "stderr"),
        )
        for path, stream in streams:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            self._readers[descriptor] = LineSplitter(stream)
            loop.add_reader(descriptor, self._read, descriptor)

    def _read(self, descriptor: int) -> bool:
        """Take one block; whether there may be more. Others get their turn after 64 KiB."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        moment = format_time(self._clock.wall())
        if data:
            splitter = self._readers[descriptor]
            self.file.append(splitter.feed(data, moment))
            if self.listeners:
                self._tell(splitter.stream, data)
            return True
        self.file.append(self._readers[descriptor].finish(moment))
        self._drop(descriptor)
        return False

    def _tell(self, stream: Stream, data: bytes) -> None:
        for listener in self.listeners:
            listener.feed(stream, data)
        if self._paused is None and any(listener.full for listener in self.listeners):
            loop = asyncio.get_running_loop()
            for descriptor in self._readers:
                loop.remove_reader(descriptor)
            self._paused = loop.call_later(STALL_S, self._drop_stalled)

    def _drop_stalled(self) -> None:
        for listener in [one for one in self.listeners if one.full]:
            self.listeners.discard(listener)
            listener.end("the client does not take the output in time")
        self.resume()

    def resume(self) -> None:
        """A listener has room again or is gone."""
        if self._paused is None or any(listener.full for listener in self.listeners):
            return
        self._paused.cancel()
        self._paused = None
        loop = asyncio.get_running_loop()
        for descriptor in self._readers:
            loop.add_reader(descriptor, self._read, descriptor)

    def _drop(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        del self._readers[descriptor]
        os.close(descriptor)

    def finish(self) -> None:
        """The container has ended: take what is left (at most the pipes' capacity) and close."""
        for descriptor in tuple(self._readers):
            for _ in range(PIPE_BYTES // _READ_BYTES + 1):
                if not self._read(descriptor):
                    break
        self.close()

    def close(self) -> None:
        """Stop reading; what waits in the pipes stays there for the next agent."""
        moment = format_time(self._clock.wall())
        for descriptor, splitter in tuple(self._readers.items()):
            self.file.append(splitter.finish(moment))
            self._drop(descriptor)
        self.file.close()
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        for listener in self.listeners:
            listener.end()
        self.listeners.clear()
