"""What a client offers when it asks to leave HTTP, and what it gets; independent of any HTTP library."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from knarr.apiserver.streams.duplex import ByteStream, Messages

WEBSOCKET = "websocket"
SPDY = "spdy/3.1"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request's wish to become something else.

    Attributes:
        protocol: of the Upgrade header, in lower case.
        offers: what the client speaks inside, the best first.
        parameters: every value of each query parameter.
    """

    protocol: str
    offers: tuple[str, ...] = ()
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a query parameter."""
        return self.parameters.get(name, ())

    def choose(self, known: Sequence[str]) -> str | None:
        """The client's best offer among ``known``, None when there is none; no offer at all is ``""``."""
        return next((offer for offer in self.offers or ("",) if offer in known), None)


@dataclass(frozen=True, slots=True)
class Session:
    """What takes over a connection after the answer 101. Exactly one of the two ``over`` is set.

    Attributes:
        protocol: what is spoken inside, one of the client's offers; empty when it made none.
        over_messages: runs on a WebSocket.
        over_bytes: runs on the bare connection.
        close: releases what the session holds, run or not; harmless when repeated.
    """

    protocol: str
    close: Callable[[], Awaitable[None]]
    over_messages: Callable[[Messages], Awaitable[None]] | None = None
    over_bytes: Callable[[ByteStream], Awaitable[None]] | None = None
