"""A node agent for sessions, in memory."""

import asyncio
from collections.abc import Sequence

from knarr.apiserver.streams.duplex import PeerGone
from knarr.kits import channels
from knarr.meta.objects import Key


class FakeNode:
    """One session: what the client sent, and what the test wants it to get."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.answers: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def send(self, channel: int, data: bytes) -> None:
        if self.closed.is_set():
            raise PeerGone("closed")
        self.sent.put_nowait((channel, data))

    async def receive(self) -> tuple[int, bytes] | None:
        return await self.answers.get()

    async def close(self) -> None:
        self.closed.set()

    def say(self, channel: int, data: bytes) -> None:
        self.answers.put_nowait((channel, data))

    async def stdin(self, size: int) -> bytes:
        """The next bytes of standard input."""
        data = b""
        while len(data) < size:
            channel, piece = await self.sent.get()
            assert channel == channels.STDIN
            data += piece
        return data


class FakeStreams:
    """``PodStreams``."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, Key, str, list[tuple[str, str]]]] = []
        self.nodes: asyncio.Queue[FakeNode] = asyncio.Queue()
        self.refusal: Exception | None = None

    async def open(
        self, kind: str, key: Key, uid: str, query: Sequence[tuple[str, str]]
    ) -> FakeNode:
        self.opened.append((kind, key, uid, list(query)))
        if self.refusal is not None:
            raise self.refusal
        node = FakeNode()
        self.nodes.put_nowait(node)
        return node
