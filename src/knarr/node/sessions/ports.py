"""Port-forward: a link joined with a connection inside a sandbox's network."""

import asyncio
import os
import socket
from functools import partial
from pathlib import Path

from knarr.kits import channels
from knarr.meta.errors import BadRequest
from knarr.node import syscalls
from knarr.node.sessions.link import Link
from knarr.node.sessions.pipes import READ_BYTES
from knarr.node.sessions.racing import first_of
from knarr.node.threads import in_thread

_CONNECT_S = 10.0
_LINGER_S = 2.0
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class Connection:
    """A connection to a port of a Pod's loopback address; an async context manager once connected."""

    __slots__ = ("reader", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()


async def connect(namespace: Path, port: int, pod: str) -> Connection:
    """Connect to the port on 127.0.0.1, else on ::1, as seen inside.

    Args:
        namespace: file of the network namespace.
        port: TCP.
        pod: name, for the error.

    Raises:
        BadRequest: nobody listens there; the text is for people.
    """
    problems = []
    for family, address in _LOOPBACK:
        try:
            return await _connect(namespace, family, (address, port))
        except TimeoutError:
            problems.append(f"dial tcp {_shown(address)}:{port}: no answer in {_CONNECT_S:.0f} s")
        except OSError as error:
            text = os.strerror(error.errno).lower() if error.errno else str(error)
            problems.append(f"dial tcp {_shown(address)}:{port}: connect: {text}")
    raise BadRequest(
        f"error forwarding port {port} to pod {pod}: failed to connect to localhost:{port} inside its "
        f"network namespace: {'; '.join(problems)}"
    )


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address


async def _connect(
    namespace: Path, family: socket.AddressFamily, address: tuple[str, int]
) -> Connection:
    made = await in_thread(partial(socket_in, namespace, family))
    try:
        made.settimeout(0)
        async with asyncio.timeout(_CONNECT_S):
            await asyncio.get_running_loop().sock_connect(made, address)
        return Connection(*await asyncio.open_connection(sock=made, limit=2 * READ_BYTES))
    except BaseException:
        made.close()
        raise


def socket_in(namespace: Path, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket that stays in a namespace; the calling thread, which must not be the main one, comes back.

    Raises:
        OSError: the namespace is gone.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.enter_namespace(away, syscalls.CLONE_NEWNET)
        finally:
            os.close(away)
        try:
            return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        finally:
            syscalls.enter_namespace(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


async def run_connection(link: Link, connection: Connection) -> None:
    """Join until both sides have finished, one of them broke, or the server is gone.

    A client may finish first and wait for the answer as long as it likes. After the Pod has finished, the
    client has 2 s: some protocols of clients cannot say that they have finished.
    """
    finished = asyncio.Event()
    await first_of(
        partial(_to_pod, link, connection.writer, finished),
        partial(_from_pod, link, connection.reader, finished),
        link.keep_alive,
    )


async def _to_pod(link: Link, writer: asyncio.StreamWriter, finished: asyncio.Event) -> None:
    while (message := await link.receive()) is not None:
        channel, data = message
        try:
            if channel == channels.STDIN:
                writer.write(data)
                await writer.drain()
            elif channel == channels.CLOSE:
                finished.set()
                writer.write_eof()
        except OSError:
            return


async def _from_pod(link: Link, reader: asyncio.StreamReader, finished: asyncio.Event) -> None:
    while data := await _read(reader):
        await link.send(channels.STDOUT, data)
    await link.send(channels.CLOSE, bytes((channels.STDOUT,)))
    try:
        async with asyncio.timeout(_LINGER_S):
            await finished.wait()
    except TimeoutError:
        return


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(READ_BYTES)
    except OSError:
        return b""
