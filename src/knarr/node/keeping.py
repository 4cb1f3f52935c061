"""Asks the keeper (``keeper``) to hold descriptors; starts it when it is needed. Calls block for moments."""

import fcntl
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from knarr.node import keeper

_TIMEOUT_S = 5.0
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Keeping:
    """Access to the keeper of one instance.

    Attributes:
        path: its socket; short, for the kernel takes 107 bytes.
    """

    path: Path

    def put(self, name: str, descriptor: int) -> None:
        """Have a descriptor held under a name; the caller keeps its own.

        Raises:
            OSError: the keeper cannot be started.
        """
        for _ in range(_TRIES - 1):
            try:
                if self._ask(b"P", name, descriptor)[0] == b"K":
                    return
            except OSError:
                pass  # none runs, or it ends just now
            self._start()
        self._ask(b"P", name, descriptor)

    def get(self, name: str) -> int | None:
        """The descriptor of that name; None when it is not held. The caller closes it."""
        try:
            return self._ask(b"G", name)[1]
        except OSError:
            return None

    def drop(self, name: str) -> None:
        """Hold it no longer. Idempotent."""
        self._tell(b"D", name)

    def end(self) -> None:
        """End the keeper. Idempotent."""
        self._tell(b"Q", "")

    def _tell(self, operation: bytes, name: str) -> None:
        try:
            self._ask(operation, name)
        except OSError:
            return

    def _ask(
        self, operation: bytes, name: str, descriptor: int | None = None
    ) -> tuple[bytes, int | None]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(self.path))
            sent = [] if descriptor is None else [descriptor]
            socket.send_fds(connection, [operation + name.encode()], sent)
            answer, received, _, _ = socket.recv_fds(connection, 1, 1)
            for one in received:
                fcntl.fcntl(one, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            return answer, received[0] if received else None

    def _start(self) -> None:
        """Begin to listen in the keeper's name, so that it need not be waited for."""
        self.path.unlink(missing_ok=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            before = os.umask(0o177)
            try:
                listener.bind(str(self.path))
            finally:
                os.umask(before)
            listener.listen(16)
            # Of this interpreter only the standard library is needed: a third of the memory.
            os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", keeper.__file__, "3", str(self.path)],
                {"PYTHONDONTWRITEBYTECODE": "1"},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, listener.fileno(), 3),
                ],
                setsid=True,
                setsigmask=(),
            )
