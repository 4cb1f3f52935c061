"""Holds descriptors for the node agent while it is away: a process of its own, ``python keeper.py FD PATH``.

A container's terminal or standard input ends for good when nobody holds its other side any more; the agent
may die and come back, so somebody else has to. This program is started with the first such container and ends
with the last, or when its socket's file is gone. It imports nothing of Knarr, to be small.

Each connection is one request, a packet of an operation's letter and a name: ``P`` keeps the descriptor that
came with it, ``G`` answers with one, ``D`` drops it, ``Q`` ends the program. The answer is ``K``, or ``N``
for an unknown name.
"""

import os
import socket
import sys
from pathlib import Path

_LOOK_S = 10.0
_REQUEST_S = 1.0
_MAX_BYTES = 1024


def main(listener: socket.socket, path: Path) -> None:
    """Serve until there is nothing left to hold."""
    held: dict[bytes, int] = {}
    identity = path.stat().st_ino
    listener.settimeout(_LOOK_S)
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            if not _is(path, identity):
                return
            continue
        with connection:
            connection.settimeout(_REQUEST_S)
            try:
                operation = _answer(connection, held)
            except OSError:
                continue
        if operation == b"Q" or (operation == b"D" and not held):
            return


def _answer(connection: socket.socket, held: dict[bytes, int]) -> bytes:
    data, descriptors, _, _ = socket.recv_fds(connection, _MAX_BYTES, 1)
    operation, name = data[:1], data[1:]
    sent: list[int] = []
    if operation == b"P" and descriptors:
        _drop(held, name)
        held[name] = descriptors.pop()
    elif operation == b"G" and name in held:
        sent = [held[name]]
    elif operation == b"D":
        _drop(held, name)
    for stray in descriptors:
        os.close(stray)
    known = operation != b"G" or bool(sent)
    socket.send_fds(connection, [b"K" if known else b"N"], sent)
    return operation


def _drop(held: dict[bytes, int], name: bytes) -> None:
    descriptor = held.pop(name, None)
    if descriptor is not None:
        os.close(descriptor)


def _is(path: Path, identity: int) -> bool:
    try:
        return path.stat().st_ino == identity
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
