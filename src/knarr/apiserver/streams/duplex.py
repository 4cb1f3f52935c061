"""What sessions speak over: messages of a WebSocket, or the bytes of an upgraded connection."""

from typing import Protocol

from knarr.meta.errors import KnarrError

CHUNK_BYTES = 32 * 1024
"""Largest piece of payload that is passed on at once."""
KEEPALIVE_S = 5.0
"""Somebody who is gone is noticed by writing: within two of these."""


class PeerGone(KnarrError):
    """The other end of a session is no more."""


class Messages(Protocol):
    """A WebSocket."""

    async def receive(self) -> bytes | None:
        """The next message, text as UTF-8; None once the peer has closed or is gone."""
        ...

    async def send(self, data: bytes, *, text: bool = False) -> None:
        """Send one message; waits while the peer is slow.

        Raises:
            PeerGone: it cannot be sent any more.
        """
        ...

    async def ping(self) -> None:
        """Write something that the peer need not understand.

        Raises:
            PeerGone: it cannot be sent any more.
        """
        ...


class ByteStream(Protocol):
    """A connection that carries bytes."""

    async def read(self) -> bytes:
        """The next bytes; none once the peer has closed or is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; waits while the peer is slow.

        Raises:
            PeerGone: it cannot be sent any more.
        """
        ...


class MessageBytes:
    """The bytes inside a WebSocket's messages (the tunnel of ``SPDY/3.1+portforward.k8s.io``)."""

    __slots__ = ("_messages",)

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def read(self) -> bytes:
        """The next message's bytes; empty messages mean nothing."""
        while (data := await self._messages.receive()) is not None:
            if data:
                return data
        return b""

    async def write(self, data: bytes) -> None:
        """Send as one message (see ``ByteStream.write``)."""
        await self._messages.send(data)
