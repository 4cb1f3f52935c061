"""Binds sessions to the HTTP library: the only module here that knows it."""

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web
from aiohttp.web_request import BaseRequest

from knarr.apiserver.streams.duplex import PeerGone
from knarr.apiserver.streams.upgrade import SPDY, WEBSOCKET, Session, Upgrade
from knarr.meta.errors import BadRequest

MAX_MESSAGE_BYTES = 16 << 20
"""Some clients send the whole of their standard input as one message."""
MAX_PARAMETERS = 1000
_INBOX_BYTES = 256 * 1024
_CLOSE_S = 1.0
_FLUSH_S = 600.0
_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
}


def upgrade_of(http: BaseRequest) -> Upgrade | None:
    """What the request wants to become; None when nothing that is spoken here.

    Raises:
        BadRequest: the query is malformed.
    """
    wanted = http.headers.get("Upgrade", "").strip().lower()
    if wanted not in (WEBSOCKET, SPDY):
        return None
    tokens = {token.strip().lower() for token in _listed(http, "Connection")}
    if "upgrade" not in tokens:
        return None
    header = "Sec-WebSocket-Protocol" if wanted == WEBSOCKET else "X-Stream-Protocol-Version"
    return Upgrade(wanted, tuple(_listed(http, header)), _parameters(http.raw_path))


def _listed(http: BaseRequest, header: str) -> Iterable[str]:
    for line in http.headers.getall(header, ()):
        yield from (one.strip() for one in line.split(",") if one.strip())


def _parameters(target: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    try:
        pairs = parse_qsl(
            target.partition("?")[2], keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError as error:
        raise BadRequest(f"the query is malformed: {error}") from None
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found


async def serve_session(
    http: BaseRequest, session: Session, headers: list[tuple[str, str]]
) -> web.StreamResponse:
    """Answer 101 and run the session to its end; it is closed in every case."""
    try:
        _set_keepalive(http)
        if session.over_messages is not None:
            return await _over_websocket(http, session, headers)
        return await _over_bytes(http, session, headers)
    finally:
        await session.close()


def _set_keepalive(http: BaseRequest) -> None:
    """Have the kernel look whether a silent peer's machine is still there (75 s at most)."""
    connection = http.transport.get_extra_info("socket") if http.transport else None
    if connection is None or connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


# --- WebSocket ----------------------------------------------------------------------------------------


async def _over_websocket(
    http: BaseRequest, session: Session, headers: list[tuple[str, str]]
) -> web.StreamResponse:
    assert session.over_messages is not None
    socket_ = web.WebSocketResponse(
        protocols=(session.protocol,) if session.protocol else (), compress=False, timeout=_CLOSE_S,
        max_msg_size=MAX_MESSAGE_BYTES,
    )  # fmt: skip
    for name, value in headers:
        socket_.headers[name] = value
    await socket_.prepare(http)
    try:
        await session.over_messages(_WebSocketMessages(socket_))
        await _flushed(http)
    finally:
        await socket_.close()
    return socket_


class _WebSocketMessages:
    """``duplex.Messages``."""

    def __init__(self, connection: web.WebSocketResponse) -> None:
        self._connection = connection

    async def receive(self) -> bytes | None:
        message = await self._connection.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        return None

    async def send(self, data: bytes, *, text: bool = False) -> None:
        try:
            if text:
                await self._connection.send_str(data.decode())
            else:
                await self._connection.send_bytes(data)
        except (OSError, RuntimeError) as error:
            raise PeerGone(f"the client is gone: {error}") from error

    async def ping(self) -> None:
        try:
            await self._connection.ping()
        except (OSError, RuntimeError) as error:
            raise PeerGone(f"the client is gone: {error}") from error


# --- bare connections ---------------------------------------------------------------------------------


async def _over_bytes(
    http: BaseRequest, session: Session, headers: list[tuple[str, str]]
) -> web.StreamResponse:
    assert session.over_bytes is not None
    answer = web.StreamResponse(status=101, headers=headers)
    answer.headers["Upgrade"] = "SPDY/3.1"
    answer.headers["Connection"] = "Upgrade"
    if session.protocol:
        answer.headers["X-Stream-Protocol-Version"] = session.protocol
    answer.force_close()
    inbox = _Inbox(http)
    # As the library's own WebSocket does it: what arrives from now on goes to the inbox.
    http.protocol.set_parser(inbox)  # type: ignore[arg-type]  # has the methods that are called
    await answer.prepare(http)
    await answer.write(b"")
    await session.over_bytes(_UpgradedBytes(answer, inbox))
    await _flushed(http)
    return answer


class _Inbox:
    """Bytes of an upgraded connection that nobody has read; beyond the bound it is not read from."""

    def __init__(self, http: BaseRequest) -> None:
        self._transport = http.transport
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._ended = False
        self._changed = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Called by the protocol."""
        self._chunks.append(bytes(data))
        self._held += len(data)
        self._changed.set()
        if self._held > _INBOX_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """Called by the protocol."""
        self._ended = True
        self._changed.set()

    async def read(self) -> bytes:
        """Everything that is there; none at the end."""
        while not self._chunks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data


class _UpgradedBytes:
    """``duplex.ByteStream``."""

    def __init__(self, answer: web.StreamResponse, inbox: _Inbox) -> None:
        self._answer = answer
        self._inbox = inbox

    async def read(self) -> bytes:
        return await self._inbox.read()

    async def write(self, data: bytes) -> None:
        try:
            await self._answer.write(data)
        except (OSError, RuntimeError) as error:
            raise PeerGone(f"the client is gone: {error}") from error


async def _flushed(http: BaseRequest) -> None:
    """Wait until a slow client has taken what was sent: closing gives it seconds only."""
    transport = http.transport
    if transport is None or transport.is_closing():
        return
    # Not zero: TLS transports count an empty buffer as full then.
    transport.set_write_buffer_limits(high=1, low=0)
    try:
        async with asyncio.timeout(_FLUSH_S):
            await http.writer.drain()
    except (OSError, TimeoutError):
        transport.abort()
