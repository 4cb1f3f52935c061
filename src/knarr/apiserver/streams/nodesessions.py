"""Sessions with Pods at the node agent: a WebSocket each on its Unix socket (``docs/protocol.md``)."""

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from knarr.apiserver.streams.duplex import PeerGone
from knarr.apiserver.streams.node import NodeStream, StreamKind
from knarr.kits import channels
from knarr.meta.errors import Unavailable, error_from_status
from knarr.meta.objects import Key

_CONNECT_TIMEOUT_S = 2.0
_START_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 1.0
_MAX_MESSAGE_BYTES = 1 << 20


class NodeStreams:
    """``node.PodStreams`` over ``run/node.sock``; an async context manager.

    Args:
        path: of the node agent's socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(str(self._path), limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def open(
        self, kind: StreamKind, key: Key, uid: str, query: Sequence[tuple[str, str]]
    ) -> NodeStream:
        """See ``PodStreams.open``."""
        if self._session is None:
            raise Unavailable("the connection to the node agent is closed")
        namespace, name = quote(key.namespace, safe=""), quote(key.name, safe="")
        url = f"http://node/v1/pods/{namespace}/{name}/{kind}"
        try:
            connection = await self._session.ws_connect(
                url, params=[("uid", uid), *query], compress=0, max_msg_size=_MAX_MESSAGE_BYTES
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(
                f"the node agent cannot be reached at {self._path}: {error}", retry_after_s=1
            ) from error
        stream = _NodeSession(connection)
        try:
            await stream.wait_started()
        except BaseException:
            await stream.close()
            raise
        return stream


class _NodeSession:
    """``node.NodeStream``."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._socket = _duplicate(connection.get_extra_info("socket"))

    async def wait_started(self) -> None:
        """Read the node agent's verdict.

        Raises:
            StatusError: it refuses, or says nothing.
        """
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                message = await self._connection.receive()
        except TimeoutError as error:
            raise Unavailable("the node agent does not start the session") from error
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Unavailable("the node agent broke the session off")
        verdict = msgspec.json.decode(message.data)
        if verdict.get("status") != "Success":
            raise error_from_status(verdict, 500)

    async def send(self, channel: int, data: bytes) -> None:
        """See ``NodeStream.send``."""
        try:
            await self._connection.send_bytes(channels.encode_message(channel, data))
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise PeerGone(f"the node agent is gone: {error}") from error

    async def receive(self) -> tuple[int, bytes] | None:
        """See ``NodeStream.receive``."""
        while True:
            message = await self._connection.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                return None
            decoded = channels.decode_message(message.data)
            if decoded is not None:
                return decoded

    async def close(self) -> None:
        """See ``NodeStream.close``; a node agent that does not answer is not waited for."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._connection.close()
        except TimeoutError:
            pass
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """End the connection at once: the library's close waits until everything is sent."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already
        finally:
            self._socket.close()


def _duplicate(connection: Any) -> socket.socket:
    """A handle of a transport's socket that stays valid when the transport is closed."""
    return socket.socket(fileno=os.dup(connection.fileno()))
