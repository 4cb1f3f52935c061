"""Exec and attach: a client's five streams, in either of its protocols, joined with a session of the node.

Sources: ``k8s.io/apimachinery/pkg/util/remotecommand`` for the protocols' names, kube-apiserver's behaviour
as recorded for the channels. In SPDY each stream says what it is in its header ``streamtype``.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Protocol

import msgspec

from knarr.apiserver.streams.duplex import CHUNK_BYTES, KEEPALIVE_S, ByteStream, Messages, PeerGone
from knarr.apiserver.streams.node import NodeStream
from knarr.apiserver.streams.spdy.server import SpdyServer, SpdyStream, serving
from knarr.kits import channels
from knarr.kits.tasks import TaskScope
from knarr.meta.errors import StatusError, status_body
from knarr.meta.remotestatus import exit_code_of

V5, V4, V4_BASE64 = "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"
V1, V1_BASE64, UNNAMED = "channel.k8s.io", "base64.channel.k8s.io", ""
CHANNEL_PROTOCOLS = (V4, V4_BASE64, V1, V1_BASE64, UNNAMED)
WEBSOCKET_PROTOCOLS = (V5, *CHANNEL_PROTOCOLS)
BASE64_PROTOCOLS = (V4_BASE64, V1_BASE64)
_TEXT_STATUS = (V1, V1_BASE64, UNNAMED)
SPDY_PROTOCOLS = (V4,)
_STREAMS_TIMEOUT_S = 30.0
_NAMES = {
    "stdin": channels.STDIN,
    "stdout": channels.STDOUT,
    "stderr": channels.STDERR,
    "error": channels.ERROR,
    "resize": channels.RESIZE,
}


class CommandClient(Protocol):
    """A client of exec or attach."""

    async def copy_to(self, node: NodeStream) -> None:
        """Pass on what the client sends; returns when the client is gone."""
        ...

    async def send(self, channel: int, data: bytes) -> None:
        """Output; waits while the client is slow.

        Raises:
            PeerGone: it cannot be sent any more.
        """
        ...

    async def finish(self, status: bytes) -> None:
        """The final Status; no output follows.

        Raises:
            PeerGone: it cannot be sent any more.
        """
        ...


Work = Callable[[], Awaitable[None]]


async def relay(client: CommandClient, node: NodeStream) -> None:
    """Join the two until the command has ended or the client is gone."""
    await first_of(partial(client.copy_to, node), partial(_output, client, node))


async def first_of(*works: Work) -> None:
    """Run all until one has ended, which the peer's going is too; the others are cancelled."""
    ended = asyncio.Event()

    async def one(work: Work) -> None:
        try:
            await unless_gone(work)
        finally:
            ended.set()

    async with TaskScope() as scope:
        for number, work in enumerate(works):
            scope.start(one(work), name=f"relay-{number}")
        await ended.wait()


async def unless_gone(work: Work) -> None:
    """Run until the end or until the peer is gone."""
    try:
        await work()
    except PeerGone:
        return


async def _output(client: CommandClient, node: NodeStream) -> None:
    while (message := await node.receive()) is not None:
        channel, data = message
        if channel == channels.ERROR:
            await client.finish(data)
            return
        if channel in (channels.STDOUT, channels.STDERR):
            await client.send(channel, data)
    lost = StatusError("the connection to the node agent broke off")
    await client.finish(msgspec.json.encode(status_body(lost)))


def pieces(data: bytes) -> Iterator[bytes]:
    """The data in pieces that may be passed on."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


# --- WebSocket ----------------------------------------------------------------------------------------


async def over_websocket(messages: Messages, protocol: str, node: NodeStream) -> None:
    """Run a session with a client on a WebSocket."""
    client = WebSocketClient(messages, protocol)
    # Kubernetes' own server begins with an empty message: some clients take it as the start. kubectl, the
    # only one that knows v5, complains when it comes before its streams are set up.
    try:
        if protocol != V5:
            await client.send(channels.STDOUT, b"")
    except PeerGone:
        return
    await first_of(partial(relay, client, node), partial(keep_alive, messages))


async def keep_alive(messages: Messages) -> None:
    """Write now and then: a client that is gone is noticed even while nothing is read from it."""
    while True:
        await asyncio.sleep(KEEPALIVE_S)
        await messages.ping()


class WebSocketClient:
    """``CommandClient`` over channel messages."""

    def __init__(self, messages: Messages, protocol: str) -> None:
        self._messages = messages
        self._closes = protocol == V5
        self._base64 = protocol in BASE64_PROTOCOLS
        self._text_status = protocol in _TEXT_STATUS

    async def copy_to(self, node: NodeStream) -> None:
        """See ``CommandClient.copy_to``."""
        while (message := await self._messages.receive()) is not None:
            decoded = decode_base64(message) if self._base64 else channels.decode_message(message)
            if decoded is None:
                continue
            channel, data = decoded
            if channel in (channels.STDIN, channels.RESIZE):
                for piece in pieces(data):
                    await node.send(channel, piece)
            elif channel == channels.CLOSE and self._closes and data[:1] == b"\0":
                await node.send(channels.CLOSE, bytes((channels.STDIN,)))

    async def send(self, channel: int, data: bytes) -> None:
        """See ``CommandClient.send``."""
        if self._base64:
            await self._messages.send(encode_base64(channel, data), text=True)
        else:
            await self._messages.send(channels.encode_message(channel, data))

    async def finish(self, status: bytes) -> None:
        """See ``CommandClient.finish``; the oldest protocols have a failure's text only."""
        if self._text_status:
            status = exit_code_of(status)[1].encode()
        await self.send(channels.ERROR, status)


def decode_base64(message: bytes) -> tuple[int, bytes] | None:
    """A message of the base64 protocols: the channel counted from "0", the payload. None when it is none."""
    if not message or message[0] < ord("0"):
        return None
    try:
        return message[0] - ord("0"), base64.b64decode(message[1:])
    except binascii.Error:
        return None


def encode_base64(channel: int, data: bytes) -> bytes:
    """The inverse of ``decode_base64``."""
    return bytes((ord("0") + channel,)) + base64.b64encode(data)


# --- SPDY ---------------------------------------------------------------------------------------------


async def over_spdy(carrier: ByteStream, wanted: frozenset[str], node: NodeStream) -> None:
    """Run a session with a client that speaks SPDY.

    Args:
        carrier: the upgraded connection.
        wanted: stream types that the client will open, by its query parameters.
        node: the session at the node.
    """
    async with serving(carrier) as server:
        try:
            async with asyncio.timeout(_STREAMS_TIMEOUT_S):
                streams = await _gather(server, wanted)
        except TimeoutError:
            return
        if streams is not None:
            await relay(SpdyClient(server, streams), node)


async def _gather(server: SpdyServer, wanted: frozenset[str]) -> dict[int, SpdyStream] | None:
    """Wait for every stream that was announced; None when the client is gone."""
    streams: dict[int, SpdyStream] = {}
    missing = set(wanted)
    while missing:
        stream = await server.accept()
        if stream is None:
            return None
        name = stream.headers.get("streamtype", "").lower()
        if name not in missing:
            await stream.reset()
            continue
        missing.discard(name)
        streams[_NAMES[name]] = stream
    return streams


class SpdyClient:
    """``CommandClient`` over SPDY streams."""

    def __init__(self, server: SpdyServer, streams: dict[int, SpdyStream]) -> None:
        self._server = server
        self._streams = streams

    async def copy_to(self, node: NodeStream) -> None:
        """See ``CommandClient.copy_to``."""
        async with TaskScope() as scope:
            for channel, copy in (
                (channels.STDIN, self._copy_stdin),
                (channels.RESIZE, self._copy_sizes),
            ):
                stream = self._streams.get(channel)
                if stream is not None:
                    work = partial(copy, stream, node)
                    scope.start(unless_gone(work), name=f"channel-{channel}")
            while (stranger := await self._server.accept()) is not None:
                await stranger.reset()

    async def _copy_stdin(self, stream: SpdyStream, node: NodeStream) -> None:
        while data := await stream.read():
            for piece in pieces(data):
                await node.send(channels.STDIN, piece)
        await node.send(channels.CLOSE, bytes((channels.STDIN,)))

    async def _copy_sizes(self, stream: SpdyStream, node: NodeStream) -> None:
        """Sizes arrive as JSON documents, one after the other, in pieces of any length."""
        rest = b""
        while data := await stream.read():
            *documents, rest = (rest + data).replace(b"}", b"}\n").split(b"\n")
            for document in documents:
                if document.strip():
                    await node.send(channels.RESIZE, document.strip())
            rest = rest[-CHUNK_BYTES:]

    async def send(self, channel: int, data: bytes) -> None:
        """See ``CommandClient.send``."""
        stream = self._streams.get(channel)
        if stream is not None:
            await stream.write(data)

    async def finish(self, status: bytes) -> None:
        """See ``CommandClient.finish``."""
        for channel in (channels.STDOUT, channels.STDERR):
            stream = self._streams.get(channel)
            if stream is not None:
                await stream.finish()
        errors = self._streams.get(channels.ERROR)
        if errors is not None:
            await errors.write(status)
            await errors.finish()
