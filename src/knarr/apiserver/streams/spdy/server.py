"""A SPDY connection with its streams as objects that tasks read from and write to.

A stream holds at most ``_STREAM_BYTES`` that nobody has read. When one is full the whole connection is not
read any further: Kubernetes' clients know no windows, so this is the only way to slow them down.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from knarr.apiserver.streams.duplex import CHUNK_BYTES, KEEPALIVE_S, ByteStream, PeerGone
from knarr.apiserver.streams.spdy import frames
from knarr.apiserver.streams.spdy.connection import (
    Aborted,
    Connection,
    Event,
    Opened,
    Received,
    WindowsGrew,
)
from knarr.apiserver.streams.spdy.frames import SpdyError
from knarr.kits.tasks import TaskScope

_STREAM_BYTES = 256 * 1024
_BACKLOG = 256


class SpdyStream:
    """One stream; closed in each direction on its own."""

    __slots__ = (
        "_aborted",
        "_changed",
        "_chunks",
        "_ended",
        "_held",
        "_server",
        "headers",
        "identifier",
    )

    def __init__(self, server: "SpdyServer", identifier: int, headers: Mapping[str, str]) -> None:
        self.identifier = identifier
        self.headers = headers
        self._server = server
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._aborted = asyncio.Event()

    async def read(self) -> bytes:
        """The next bytes; none once the peer has finished or reset it, or is gone."""
        while not self._chunks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._chunks.popleft()
        self._held -= len(data)
        self._changed.set()
        await self._server.consumed(self.identifier, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send; waits while the peer is slow.

        Raises:
            PeerGone: the stream is closed or the connection is.
        """
        await self._server.write(self.identifier, data)

    async def finish(self) -> None:
        """Send no more. Idempotent, and harmless when the peer is gone."""
        await self._server.finish(self.identifier)

    async def reset(self) -> None:
        """Give the stream up. Idempotent, and harmless when the peer is gone."""
        self.abort()
        await self._server.reset(self.identifier)

    async def abandoned(self) -> None:
        """Wait until the stream is reset or the peer is gone; its polite end is neither."""
        await self._aborted.wait()

    @property
    def writable(self) -> bool:
        """Whether something may still be sent."""
        return self._server.writable(self.identifier)

    # --- of the connection's reader -------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        """Bytes have arrived."""
        if data and not self._ended:
            self._chunks.append(data)
            self._held += len(data)
            self._changed.set()

    def end(self) -> None:
        """No more will arrive."""
        self._ended = True
        self._changed.set()

    def abort(self) -> None:
        """The stream is of no further use."""
        self.end()
        self._aborted.set()

    async def drained(self) -> None:
        """Wait until there is room for more."""
        while self._held > _STREAM_BYTES and not self._ended:
            self._changed.clear()
            await self._changed.wait()


class SpdyServer:
    """Serves one connection; use ``serving``."""

    def __init__(self, carrier: ByteStream) -> None:
        self._carrier = carrier
        self._connection = Connection()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue(_BACKLOG)
        self._windows = asyncio.Event()
        self._gone = False

    async def accept(self) -> SpdyStream | None:
        """The next stream that the peer opened, answered already; None once the peer is gone."""
        if self._gone and self._opened.empty():
            return None
        return await self._opened.get()

    async def close(self) -> None:
        """Say good-bye; what was written before arrives before it."""
        self._connection.go_away()
        try:
            await self._flush()
        except PeerGone:
            return

    # --- tasks ----------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read until the peer is gone or breaks the protocol."""
        try:
            while data := await self._carrier.read():
                try:
                    events = self._connection.feed(data)
                finally:
                    await self._flush()
                for event in events:
                    await self._handle(event)
        except (SpdyError, PeerGone):
            pass
        self._gone = True
        for stream in self._streams.values():
            stream.abort()
        self._streams.clear()
        self._windows.set()
        await self._opened.put(None)

    async def keep_alive(self) -> None:
        """Write now and then: a peer that is gone is noticed even while nothing is read."""
        while True:
            await asyncio.sleep(KEEPALIVE_S)
            self._connection.ping()
            await self._flush()

    async def _handle(self, event: Event) -> None:
        match event:
            case Opened(identifier, headers, fin):
                stream = self._streams[identifier] = SpdyStream(self, identifier, headers)
                self._connection.reply(identifier)
                if fin:
                    stream.end()
                await self._flush()
                await self._opened.put(stream)
            case Received(identifier, data, fin):
                await self._received(self._streams.get(identifier), data, fin=fin)
            case Aborted(identifier):
                aborted = self._streams.pop(identifier, None)
                if aborted is not None:
                    aborted.abort()
                self._windows.set()
            case WindowsGrew():
                self._windows.set()
            case _:
                return

    async def _received(self, stream: SpdyStream | None, data: bytes, *, fin: bool) -> None:
        if stream is None:
            await self.consumed(0, len(data))
            return
        stream.put(data)
        if fin:
            stream.end()
            self._forget_if_done(stream.identifier)
        else:
            await stream.drained()

    def _forget_if_done(self, identifier: int) -> None:
        if not self._connection.known(identifier):
            self._streams.pop(identifier, None)

    # --- what streams do ------------------------------------------------------------------------------

    async def consumed(self, identifier: int, count: int) -> None:
        """Bytes of a stream were taken."""
        self._connection.consumed(identifier, count)
        try:
            await self._flush()
        except PeerGone:
            return

    def writable(self, identifier: int) -> bool:
        """See ``SpdyStream.writable``."""
        return not self._gone and self._connection.writable(identifier)

    async def write(self, identifier: int, data: bytes) -> None:
        """See ``SpdyStream.write``."""
        offset = 0
        while offset < len(data):
            room = await self._room(identifier)
            piece = data[offset : offset + min(room, CHUNK_BYTES)]
            self._connection.send(identifier, piece)
            await self._flush()
            offset += len(piece)

    async def _room(self, identifier: int) -> int:
        while True:
            if not self.writable(identifier):
                raise PeerGone(f"stream {identifier} is closed")
            room = self._connection.room(identifier)
            if room:
                return room
            self._windows.clear()
            await self._windows.wait()

    async def finish(self, identifier: int) -> None:
        """See ``SpdyStream.finish``."""
        self._connection.send(identifier, b"", fin=True)
        self._forget_if_done(identifier)
        try:
            await self._flush()
        except PeerGone:
            return

    async def reset(self, identifier: int) -> None:
        """See ``SpdyStream.reset``."""
        self._streams.pop(identifier, None)
        self._connection.reset(identifier, frames.CANCEL)
        try:
            await self._flush()
        except PeerGone:
            return

    async def _flush(self) -> None:
        data = self._connection.take()
        if data:
            await self._carrier.write(data)


@asynccontextmanager
async def serving(carrier: ByteStream) -> AsyncIterator[SpdyServer]:
    """Serve a connection for as long as the body runs; then GOAWAY.

    Raises:
        PeerGone: writing failed.
    """
    server = SpdyServer(carrier)
    async with TaskScope() as scope:
        scope.start(server.read(), name="spdy-read")
        scope.start(_until_gone(server), name="spdy-keep-alive")
        yield server
        await server.close()


async def _until_gone(server: SpdyServer) -> None:
    try:
        await server.keep_alive()
    except PeerGone:
        return
