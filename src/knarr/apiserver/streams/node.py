"""The other end of every session: a stream of channel messages at whoever runs the Pod."""

from collections.abc import Sequence
from typing import Literal, Protocol

from knarr.meta.objects import Key

StreamKind = Literal["exec", "attach", "portforward"]


class NodeStream(Protocol):
    """One session at the node agent; see ``kits.channels`` for the channels."""

    async def send(self, channel: int, data: bytes) -> None:
        """Send one message of at most ``duplex.CHUNK_BYTES``; waits while the other end is slow.

        Raises:
            PeerGone: the session has ended.
        """
        ...

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message; None when the session has ended."""
        ...

    async def close(self) -> None:
        """End the session; what it started is ended too. Harmless when repeated."""
        ...


class PodStreams(Protocol):
    """Where sessions with Pods are opened."""

    async def open(
        self, kind: StreamKind, key: Key, uid: str, query: Sequence[tuple[str, str]]
    ) -> NodeStream:
        """Begin a session with the Pod of that name and uid; it runs when this returns.

        Raises:
            StatusError: it is refused, or the node agent cannot be reached.
        """
        ...
