"""The server's side of ``run/dataplane.sock``: tells gateways the table, hears what they see.

One asyncio protocol object per gateway and no task: frames are parsed as bytes arrive and written as
the table changes, so that a ready replica is on its way to the gateways within the same turn of the
loop. A gateway that reads too slowly (``MAX_UNSENT_BYTES`` unsent) is cut off and starts again with a
snapshot; one that breaks the protocol is cut off with an error in the log.

Only peers of this process's uid and root are let in (``SO_PEERCRED``). See ``docs/protocol.md``.
"""

import asyncio
import itertools
import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import msgspec

from knarr.dataplane import messages
from knarr.dataplane.stats import FaultSink, TrafficSink
from knarr.dataplane.table import RoutingTable
from knarr.kits.framing import encode_frame

MAX_UNSENT_BYTES = 2 * messages.MAX_FRAME_BYTES
PICK_TIMEOUT_S = 1.0
_PEERCRED = struct.Struct("3i")

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(messages.FromDataplane)


class ProtocolViolation(Exception):
    """A gateway sent what the protocol does not allow."""


class FrameReader:
    """Cuts a byte stream into frames; holds at most one incomplete frame."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies of the frames that are complete now.

        Raises:
            ProtocolViolation: a frame announces more than ``MAX_FRAME_BYTES``.
        """
        self._buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= 4:
            length = int.from_bytes(self._buffer[start : start + 4], "big")
            if length > messages.MAX_FRAME_BYTES:
                raise ProtocolViolation(f"a frame of {length} bytes")
            if len(self._buffer) - start - 4 < length:
                break
            bodies.append(bytes(self._buffer[start + 4 : start + 4 + length]))
            start += 4 + length
        del self._buffer[:start]
        return bodies


class _Gateway(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: "DataplaneServer") -> None:
        self._server = server
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._hello: messages.Hello | None = None
        self.joined = False

    @property
    def name(self) -> str:
        """What the gateway calls itself."""
        return self._hello.gateway if self._hello else "?"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclasses of asyncio's.
        self._transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("socket")
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
        uid = _PEERCRED.unpack(raw)[1]
        if uid not in {0, os.geteuid()}:
            _log.error("a process of uid %d tried to connect as a gateway", uid)
            transport.abort()
            return
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)
        self._server.table.leave(self)
        self._server.abandon(self)
        if self.joined:
            _log.info("gateway %s disconnected: %s", self.name, exc or "closed")

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._reader.feed(data):
                self._dispatch(_decoder.decode(body))
        except (msgspec.DecodeError, ProtocolViolation) as error:
            _log.error("gateway %s broke the protocol: %s", self.name, error)
            self.close()

    def _dispatch(self, message: messages.FromDataplane) -> None:
        if self._hello is None and not isinstance(message, messages.Hello):
            raise ProtocolViolation(f"{type(message).__name__} before hello")
        match message:
            case messages.Hello():
                self._greet(message)
            case messages.Ack(epoch=epoch, version=version):
                if epoch == self._server.table.epoch:
                    self._server.table.acknowledge(self, version)
            case messages.PickedIdle():
                self._server.picked(self, message)
            case _:
                self._server.spread(message)

    def _greet(self, hello: messages.Hello) -> None:
        if hello.protocol != messages.PROTOCOL_VERSION:
            raise ProtocolViolation(
                f"protocol {hello.protocol}, this server speaks {messages.PROTOCOL_VERSION}"
            )
        if self._hello is not None:
            raise ProtocolViolation("a second hello")
        self._hello = hello
        if self._server.table.is_ready:
            self.begin()

    def begin(self) -> None:
        """Tell the gateway what it lacks, and every change from now on."""
        if self._hello is None or self.joined or self._transport is None:
            return
        self.joined = True
        table = self._server.table
        deltas = table.deltas_since(self._hello.epoch, self._hello.version)
        if deltas is None:
            held = 0
            self.send(table.snapshot())
        else:
            held = self._hello.version
            for delta in deltas:
                self.send(delta)
        _log.info("gateway %s connected with version %d", self.name, held)
        table.join(self, held, self.send)

    def send(self, message: messages.ToDataplane) -> None:
        """Queue a frame; cuts the gateway off when too much is unsent."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(encode_frame(_encoder.encode(message)))
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            _log.error("gateway %s reads too slowly and is cut off", self.name)
            self._transport.abort()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()


class DataplaneServer:
    """Listens for gateways while its context is entered.

    Args:
        path: of the socket; a stale one is replaced.
        table: what gateways are told.
        traffic, faults: who hears what they see; called in order, must return at once.
    """

    def __init__(
        self,
        path: Path,
        table: RoutingTable,
        traffic: Sequence[TrafficSink] = (),
        faults: Sequence[FaultSink] = (),
    ) -> None:
        self.table = table
        self.traffic = tuple(traffic)
        self.faults = tuple(faults)
        self.connections: set[_Gateway] = set()
        self._path = path
        self._server: asyncio.Server | None = None
        self._ids = itertools.count(1)
        self._picks: dict[int, tuple[_Gateway, asyncio.Future[tuple[str, ...]]]] = {}

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Gateway(self), str(self._path))
        self._path.chmod(0o600)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for gateway in tuple(self.connections):
            gateway.close()
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    def ready(self) -> None:
        """The table is complete: gateways that wait are told."""
        self.table.ready()
        for gateway in tuple(self.connections):
            gateway.begin()

    async def pick_idle(
        self, revision: str, count: int, timeout_s: float = PICK_TIMEOUT_S
    ) -> tuple[str, ...]:
        """Replicas of a revision that may end, least busy first; they get no new requests.

        With several gateways the ones named most often win, and the others are put back. A gateway
        that does not answer in time has no say. Empty when no gateway is connected.
        """
        asked = self._joined()
        if not asked or count <= 0:
            return ()
        answers = await self._ask(asked, revision, count, timeout_s)
        votes = Counter(replica for answer in answers for replica in answer)
        chosen = tuple(replica for replica, _ in votes.most_common(count))
        losers = tuple(replica for replica in votes if replica not in chosen)
        if losers:
            self.resume(revision, losers)
        return chosen

    def _joined(self) -> list[_Gateway]:
        return [gateway for gateway in self.connections if gateway.joined]

    async def _ask(
        self, gateways: list[_Gateway], revision: str, count: int, timeout_s: float
    ) -> list[tuple[str, ...]]:
        loop = asyncio.get_running_loop()
        asked: dict[int, asyncio.Future[tuple[str, ...]]] = {}
        for gateway in gateways:
            number = next(self._ids)
            asked[number] = loop.create_future()
            self._picks[number] = (gateway, asked[number])
            gateway.send(messages.PickIdle(id=number, revision=revision, count=count))
        try:
            done, _ = await asyncio.wait(asked.values(), timeout=timeout_s)
        finally:
            for number in asked:
                self._picks.pop(number, None)
        return [future.result() for future in done]

    def abandon(self, gateway: _Gateway) -> None:
        """A gateway is gone: what it was asked is answered with nothing."""
        for number, (asked, future) in tuple(self._picks.items()):
            if asked is gateway:
                del self._picks[number]
                if not future.done():
                    future.set_result(())

    def picked(self, gateway: _Gateway, answer: messages.PickedIdle) -> None:
        """A gateway's answer; one that nobody waits for any more is undone."""
        waiting = self._picks.pop(answer.id, None)
        if waiting is None:
            gateway.send(messages.Resume(revision=answer.revision, replicas=answer.replicas))
        elif not waiting[1].done():
            waiting[1].set_result(answer.replicas)

    def spread(self, message: messages.Stats | messages.Demand | messages.ReplicaFault) -> None:
        """Tell the sinks what a gateway saw."""
        match message:
            case messages.Stats():
                for sink in self.traffic:
                    sink.reported(message)
            case messages.Demand():
                for sink in self.traffic:
                    sink.demanded(message)
            case messages.ReplicaFault():
                for listener in self.faults:
                    listener.faulted(message)

    def resume(self, revision: str, replicas: tuple[str, ...]) -> None:
        """Put picked replicas back into service on every gateway."""
        for gateway in self._joined():
            gateway.send(messages.Resume(revision=revision, replicas=replicas))
