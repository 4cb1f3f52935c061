"""The pods' resolver: cluster names from caches, all others from the machine's own resolvers.

Listens with UDP and TCP on the pod gateway. At most 256 questions are on their way to the machine's
resolvers; further ones get SERVFAIL. The cache holds 2,048 answers for at most 30 s, the oldest going first.
"""

import asyncio
import random
import socket
from collections import OrderedDict
from pathlib import Path
from typing import cast

from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSError, DNSHeader, DNSQuestion, DNSRecord

from knarr.kits.clock import Clock
from knarr.kits.tasks import TaskScope
from knarr.node.names import ClusterNames

_TTL_S = 5
_CACHE_ENTRIES, _CACHE_MAX_S = 2048, 30.0
_IN_FLIGHT = 256
_UPSTREAM_TIMEOUT_S, _UPSTREAM_TRIES = 2.0, 2
_TCP_CLIENTS, _TCP_IDLE_S = 64, 10.0
_MAX_UDP_BYTES = 1232
_UPSTREAM_PORT = 53


def parse_resolvers(resolv_conf: str) -> tuple[str, ...]:
    """The name servers of a ``resolv.conf``, at most three, IPv4 only."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and ":" not in words[1]:
            found.append(words[1])
    return tuple(found[:3])


def machine_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The machine's name servers; none when it has no configuration."""
    try:
        return parse_resolvers(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ()


class AnswerCache:
    """Encoded answers of others, by question."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, int], tuple[float, bytes]] = OrderedDict()

    def get(self, question: tuple[str, int], identifier: int, now: float) -> bytes | None:
        """The answer with the asker's id, or None."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[question]
            return None
        return identifier.to_bytes(2, "big") + entry[1][2:]

    def put(self, question: tuple[str, int], answer: bytes, ttl_s: float, now: float) -> None:
        """Keep an answer for its time to live, 30 s at most."""
        if ttl_s <= 0:
            return
        self._entries.pop(question, None)
        self._entries[question] = (now + min(ttl_s, _CACHE_MAX_S), answer)
        if len(self._entries) > _CACHE_ENTRIES:
            self._entries.popitem(last=False)


def _local_answer(query: DNSRecord, names: ClusterNames) -> tuple[DNSRecord, str] | None:
    """The answer for a cluster name and, for an alias, the name to resolve on; None for other names."""
    name = str(query.q.qname).rstrip(".").lower()
    if not names.covers(name):
        return None
    reply = query.reply()
    reply.header.ra = 1
    found = names.look_up(name)
    if found is None:
        reply.header.rcode = RCODE.NXDOMAIN
        return reply, ""
    if found.alias:
        reply.add_answer(RR(query.q.qname, QTYPE.CNAME, rdata=CNAME(found.alias), ttl=_TTL_S))
    elif query.q.qtype in (QTYPE.A, QTYPE.ANY):
        for address in found.addresses:
            reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(address), ttl=_TTL_S))
    return reply, found.alias


def failure(query: DNSRecord, code: int) -> bytes:
    """An answer without records."""
    reply = query.reply()
    reply.header.ra = 1
    reply.header.rcode = code
    return bytes(reply.pack())


class Resolver:
    """Answers one encoded question; keeps the cache and the number of questions on their way."""

    def __init__(
        self, names: ClusterNames, upstream: tuple[str, ...], clock: Clock, rng: random.Random
    ) -> None:
        self._names = names
        self._upstream = upstream
        self._clock = clock
        self._rng = rng
        self._cache = AnswerCache()
        self._in_flight = 0

    async def answer(self, data: bytes) -> bytes | None:
        """The encoded answer; None for what is no question."""
        try:
            query = DNSRecord.parse(data)
        except (DNSError, ValueError, IndexError):
            return None
        if query.header.qr or len(query.questions) != 1:
            return None
        local = _local_answer(query, self._names)
        if local is None:
            return await self._forward(query, data)
        reply, alias = local
        if alias and query.q.qtype in (QTYPE.A, QTYPE.AAAA):
            await self._follow(reply, alias, query.q.qtype)
        return bytes(reply.pack())

    async def _follow(self, reply: DNSRecord, alias: str, kind: int) -> None:
        question = DNSRecord(DNSHeader(rd=1), q=DNSQuestion(alias, kind))
        raw = await self._forward(question, bytes(question.pack()))
        for record in DNSRecord.parse(raw).rr:
            if isinstance(record.rdata, A | AAAA | CNAME):
                reply.add_answer(record)

    async def _forward(self, query: DNSRecord, data: bytes) -> bytes:
        question = (str(query.q.qname).lower(), int(query.q.qtype))
        cached = self._cache.get(question, query.header.id, self._clock.monotonic())
        if cached is not None:
            return cached
        if not self._upstream or self._in_flight >= _IN_FLIGHT:
            return failure(query, RCODE.SERVFAIL)
        self._in_flight += 1
        try:
            answer = await self._ask(data)
        finally:
            self._in_flight -= 1
        if answer is None:
            return failure(query, RCODE.SERVFAIL)
        answer = data[:2] + answer[2:]
        self._cache.put(question, answer, _ttl_of(answer), self._clock.monotonic())
        return answer

    async def _ask(self, data: bytes) -> bytes | None:
        """Ask the machine's resolvers in turn, each question with an id and a port of its own."""
        for attempt in range(_UPSTREAM_TRIES):
            server = self._upstream[attempt % len(self._upstream)]
            identifier = self._rng.getrandbits(16).to_bytes(2, "big")
            try:
                async with asyncio.timeout(_UPSTREAM_TIMEOUT_S):
                    answer = await _ask_udp(server, identifier + data[2:])
                    if answer[2] & 0x02:
                        answer = await _ask_tcp(server, identifier + data[2:])
                    return answer
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
        return None


def _ttl_of(answer: bytes) -> float:
    """Seconds for which an answer may be kept; 0 for failures."""
    try:
        record = DNSRecord.parse(answer)
    except (DNSError, ValueError, IndexError):
        return 0.0
    if record.header.rcode == RCODE.NXDOMAIN:
        return float(_TTL_S)
    if record.header.rcode != RCODE.NOERROR or not record.rr:
        return 0.0
    return float(min(one.ttl for one in record.rr))


async def _ask_udp(server: str, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as outgoing:
        outgoing.connect((server, _UPSTREAM_PORT))
        await loop.sock_sendall(outgoing, data)
        while True:
            answer = await loop.sock_recv(outgoing, 65535)
            if len(answer) >= 12 and answer[:2] == data[:2]:
                return answer


async def _ask_tcp(server: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, _UPSTREAM_PORT)
    try:
        writer.write(len(data).to_bytes(2, "big") + data)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: "DnsServer") -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # uvloop has its own class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._server.handle_datagram(data, addr, self._transport)


class DnsServer:
    """Listens on the pod gateway; an async context manager."""

    def __init__(self, resolver: Resolver, address: str, port: int = 53) -> None:
        self._resolver = resolver
        self._address = address
        self._port = port
        self._scope = TaskScope()
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._clients = 0
        self._datagrams = 0

    async def __aenter__(self) -> "DnsServer":
        await self._scope.__aenter__()
        try:
            loop = asyncio.get_running_loop()
            where = (self._address, self._port)
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=where
            )
            self._server = await asyncio.start_server(self._serve, *where)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self._server is not None:
            self._server.close()
        await self._scope.__aexit__(*error)  # type: ignore[arg-type]  # the three of the protocol

    def handle_datagram(
        self, data: bytes, peer: tuple[str, int], transport: asyncio.DatagramTransport
    ) -> None:
        """Answer in a task of its own; beyond 512 at once questions are dropped."""
        if self._datagrams < 2 * _IN_FLIGHT:
            self._datagrams += 1
            self._scope.start(self._answer(data, peer, transport), name="dns")

    async def _answer(
        self, data: bytes, peer: tuple[str, int], transport: asyncio.DatagramTransport
    ) -> None:
        try:
            answer = await self._resolver.answer(data)
        finally:
            self._datagrams -= 1
        if answer is None or transport.is_closing():
            return
        if len(answer) > _MAX_UDP_BYTES:
            answer = bytes(DNSRecord.parse(answer).truncate().pack())
        transport.sendto(answer, peer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            while self._clients <= _TCP_CLIENTS:
                async with asyncio.timeout(_TCP_IDLE_S):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(length)
                answer = await self._resolver.answer(data)
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            return
        finally:
            self._clients -= 1
            writer.close()
