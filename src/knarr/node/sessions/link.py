"""One session's connection with the server: channel messages on a WebSocket."""

import asyncio
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from knarr.kits import channels
from knarr.meta.errors import KnarrError, StatusError, status_body

MAX_MESSAGE_BYTES = 1 << 20
_KEEPALIVE_S = 5.0
_CLOSE_S = 1.0


class ServerGone(KnarrError):
    """Nobody is at the other end any more."""


class Link:
    """See the module; ``accept`` or ``refuse`` comes first."""

    __slots__ = ("_connection",)

    def __init__(self, connection: web.WebSocketResponse) -> None:
        self._connection = connection

    async def accept(self) -> None:
        """Say that the session runs.

        Raises:
            ServerGone: it cannot be said.
        """
        await self._send_text({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    async def refuse(self, error: StatusError) -> None:
        """Say why there is no session; harmless when nobody listens."""
        try:
            await self._send_text(status_body(error))
        except ServerGone:
            return

    async def _send_text(self, document: dict[str, Any]) -> None:
        try:
            await self._connection.send_str(msgspec.json.encode(document).decode())
        except (OSError, RuntimeError) as error:
            raise ServerGone(str(error)) from error

    async def send(self, channel: int, data: bytes) -> None:
        """Send one message; waits while the server is slow.

        Raises:
            ServerGone: it cannot be sent.
        """
        try:
            await self._connection.send_bytes(channels.encode_message(channel, data))
        except (OSError, RuntimeError) as error:
            raise ServerGone(str(error)) from error

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message; None when the server ended the session or is gone."""
        while True:
            message = await self._connection.receive()
            if message.type is not WSMsgType.BINARY:
                return None
            decoded = channels.decode_message(message.data)
            if decoded is not None:
                return decoded

    async def keep_alive(self) -> None:
        """Write now and then, so that a server that is gone is noticed while nothing else happens.

        Raises:
            ServerGone: it is.
        """
        while True:
            await asyncio.sleep(_KEEPALIVE_S)
            try:
                await self._connection.ping()
            except (OSError, RuntimeError) as error:
                raise ServerGone(str(error)) from error


def new_connection() -> web.WebSocketResponse:
    """The WebSocket of a session, not begun yet."""
    return web.WebSocketResponse(compress=False, timeout=_CLOSE_S, max_msg_size=MAX_MESSAGE_BYTES)
