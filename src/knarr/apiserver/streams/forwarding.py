"""Port-forward: connections of a client, in each of its protocols, joined with connections inside a Pod.

SPDY: each connection is a pair of streams with the headers ``port``, ``requestid`` and ``streamtype``
(``error`` first, then ``data``). WebSocket: one connection per requested port; channel 2n is its data and
2n+1 its errors, and each begins with the port as a little-endian u16.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from functools import partial

from knarr.apiserver.streams.duplex import ByteStream, MessageBytes, Messages, PeerGone
from knarr.apiserver.streams.node import NodeStream
from knarr.apiserver.streams.remotecommand import (
    BASE64_PROTOCOLS,
    decode_base64,
    encode_base64,
    first_of,
    keep_alive,
    pieces,
    unless_gone,
)
from knarr.apiserver.streams.spdy.server import SpdyStream, serving
from knarr.kits import channels
from knarr.kits.tasks import TaskScope
from knarr.meta.errors import StatusError

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
MAX_PENDING = 256
"""Error streams whose data stream has not come yet."""
MAX_WEBSOCKET_PORTS = 64
_PORT = struct.Struct("<H")
OpenPort = Callable[[int], Awaitable[NodeStream]]


# --- SPDY ---------------------------------------------------------------------------------------------


async def over_spdy(carrier: ByteStream, open_port: OpenPort) -> None:
    """Forward until the client is gone; every connection ends then."""
    async with serving(carrier) as server, TaskScope() as scope:
        pending: dict[str, SpdyStream] = {}
        while (stream := await server.accept()) is not None:
            if stream.headers.get("streamtype") not in ("data", "error"):
                await stream.reset()
                continue
            pair = _paired(pending, stream)
            if pair is None:
                if len(pending) > MAX_PENDING:
                    await pending.pop(next(iter(pending))).reset()
                continue
            data, error = pair
            name = f"forward-{data.identifier}"
            scope.start(_forward(data, error, open_port), name=name)


async def over_tunnel(messages: Messages, open_port: OpenPort) -> None:
    """As ``over_spdy``, with a client that wraps SPDY's bytes in a WebSocket's messages."""
    await over_spdy(MessageBytes(messages), open_port)


def _paired(
    pending: dict[str, SpdyStream], stream: SpdyStream
) -> tuple[SpdyStream, SpdyStream] | None:
    """The pair that a stream completes, data first; otherwise it waits in ``pending``."""
    kind = stream.headers["streamtype"]
    # Old clients send no id: their error stream is the one opened just before the data stream.
    number = stream.headers.get("requestid") or _implied(stream, kind)
    other = pending.pop(f"{number}/{'error' if kind == 'data' else 'data'}", None)
    if other is None:
        pending[f"{number}/{kind}"] = stream
        return None
    return (stream, other) if kind == "data" else (other, stream)


def _implied(stream: SpdyStream, kind: str) -> str:
    return str(stream.identifier if kind == "error" else stream.identifier - 2)


async def _forward(data: SpdyStream, error: SpdyStream, open_port: OpenPort) -> None:
    """One connection, to its end; failures become text on the error stream."""
    try:
        text = await _connect_and_join(data, open_port)
        if text:
            await error.write(text)
    except PeerGone:
        pass
    await error.finish()
    if data.writable:
        await data.reset()


async def _connect_and_join(data: SpdyStream, open_port: OpenPort) -> bytes:
    """Returns the text of an error, or nothing."""
    port = data.headers.get("port", "")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return f"unable to forward to port {port!r}: it must be between 1 and 65535".encode()
    try:
        node = await open_port(int(port))
    except StatusError as refusal:
        return refusal.message.encode()
    failure = bytearray()
    try:
        await first_of(partial(_to_pod, data, node), partial(_from_pod, data, node, failure))
    finally:
        await node.close()
    return bytes(failure)


async def _to_pod(data: SpdyStream, node: NodeStream) -> None:
    """Returns when the client gave the stream up; after its polite end the Pod may go on sending."""
    try:
        while chunk := await data.read():
            for piece in pieces(chunk):
                await node.send(channels.STDIN, piece)
        await node.send(channels.CLOSE, bytes((channels.STDIN,)))
    except PeerGone:
        pass
    await data.abandoned()


async def _from_pod(data: SpdyStream, node: NodeStream, failure: bytearray) -> None:
    while (message := await node.receive()) is not None:
        channel, payload = message
        if channel == channels.STDOUT:
            await data.write(payload)
        elif channel == channels.CLOSE:
            await data.finish()
        elif channel == channels.ERROR:
            failure += payload


# --- WebSocket ----------------------------------------------------------------------------------------


async def over_websocket(
    messages: Messages, protocol: str, ports: tuple[int, ...], open_port: OpenPort
) -> None:
    """Forward the ports, one connection each, until all have ended or the client is gone."""
    forwarder = _WebSocketPorts(messages, ports, base64=protocol in BASE64_PROTOCOLS)
    try:
        await first_of(
            forwarder.receive, partial(forwarder.run_all, open_port), partial(keep_alive, messages)
        )
    finally:
        await forwarder.close()


class _WebSocketPorts:
    """The connections of one WebSocket."""

    def __init__(self, messages: Messages, ports: tuple[int, ...], *, base64: bool) -> None:
        self._messages = messages
        self._ports = ports
        self._base64 = base64
        self._nodes: dict[int, NodeStream] = {}
        self._opened = asyncio.Event()

    async def run_all(self, open_port: OpenPort) -> None:
        for number, port in enumerate(self._ports):
            await self._send(2 * number, _PORT.pack(port))
            await self._send(2 * number + 1, _PORT.pack(port))
            await self._open(number, port, open_port)
        self._opened.set()
        async with asyncio.TaskGroup() as group:
            for number, node in tuple(self._nodes.items()):
                group.create_task(unless_gone(partial(self._output, number, node)))

    async def _open(self, number: int, port: int, open_port: OpenPort) -> None:
        try:
            self._nodes[number] = await open_port(port)
        except StatusError as refusal:
            await self._send(2 * number + 1, refusal.message.encode())

    async def _output(self, number: int, node: NodeStream) -> None:
        while (message := await node.receive()) is not None:
            channel, payload = message
            if channel == channels.STDOUT:
                await self._send(2 * number, payload)
            elif channel == channels.ERROR:
                await self._send(2 * number + 1, payload)

    async def receive(self) -> None:
        """Returns when the client is gone."""
        await self._opened.wait()
        while (message := await self._messages.receive()) is not None:
            decoded = decode_base64(message) if self._base64 else channels.decode_message(message)
            if decoded is None or decoded[0] % 2:
                continue
            node = self._nodes.get(decoded[0] // 2)
            if node is not None:
                await unless_gone(partial(_send_all, node, decoded[1]))

    async def _send(self, channel: int, data: bytes) -> None:
        if self._base64:
            await self._messages.send(encode_base64(channel, data), text=True)
        else:
            await self._messages.send(channels.encode_message(channel, data))

    async def close(self) -> None:
        for node in self._nodes.values():
            await node.close()


async def _send_all(node: NodeStream, data: bytes) -> None:
    for piece in pieces(data):
        await node.send(channels.STDIN, piece)
