"""What connects a container's process with people: its terminal, or its standard input.

The other side of either is one descriptor. The agent holds it, and so does the keeper: it outlives an agent.
"""

import fcntl
import os
import socket
import struct
import termios
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from knarr.node.layout import ContainerPaths
from knarr.node.runc import RuncError

_SIZE = struct.Struct("HHHH")


class Interaction(msgspec.Struct, frozen=True):
    """What a container's spec asks for (``stdin``, ``stdinOnce``, ``tty``)."""

    stdin: bool = False
    once: bool = False
    tty: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything to hold."""
        return self.stdin or self.tty


NO_INTERACTION = Interaction()


@dataclass(slots=True)
class Console:
    """The held side of a running container's terminal or standard input.

    Attributes:
        descriptor: the terminal's master or the FIFO's end for writing; -1 once closed.
        used: somebody has attached to the standard input already.
    """

    interaction: Interaction
    descriptor: int
    used: bool = False

    @property
    def terminal(self) -> bool:
        """Whether it is a terminal."""
        return self.interaction.tty

    @property
    def writable(self) -> bool:
        """Whether input may be sent."""
        return self.interaction.stdin and self.descriptor >= 0

    def close(self) -> None:
        """Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def set_size(descriptor: int, width: int, height: int) -> None:
    """Give a terminal its size, in characters; programs in it get SIGWINCH. One that is gone is fine."""
    try:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, _SIZE.pack(height, width, 0, 0))
    except OSError:
        return


def make_stdin(paths: ContainerPaths) -> tuple[int, int]:
    """Make the FIFO of a container's standard input.

    Returns:
        The container's end, which reads, and ours, which writes.
    """
    os.mkfifo(paths.stdin, 0o600)
    # The container's user reopens it as /dev/stdin; nobody else can reach the directory.
    paths.stdin.chmod(0o666)
    first = os.open(paths.stdin, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        ours = os.open(paths.stdin, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return os.open(paths.stdin, os.O_RDONLY | os.O_CLOEXEC), ours
    finally:
        os.close(first)


class ConsoleSocket:
    """Where the OCI runtime hands over the terminal that it made; a context manager."""

    __slots__ = ("_listener", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self.path))
        finally:
            os.umask(before)
        self._listener.listen(1)
        self._listener.settimeout(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def receive(self) -> int:
        """The terminal's master, once the runtime has ended well: it was sent before.

        Raises:
            RuncError: the runtime sent none.
        """
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(0)
                _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
        except BlockingIOError as error:
            raise RuncError(("console",), 1, "the runtime sent no terminal") from error
        if not descriptors:
            raise RuncError(("console",), 1, "the runtime sent no terminal")
        fcntl.fcntl(descriptors[0], fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        return descriptors[0]
