"""The nouns of the store: an entry, an event, a page, a pending write."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from knarr.meta.objects import Key

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_HEAD: dict[str, bytes] = {
    kind: b'{"type":"' + kind.encode() + b'","object":' for kind in ("ADDED", "MODIFIED", "DELETED")
}


def encode_event(kind: EventType, data: bytes) -> bytes:
    """One line of a watch stream."""
    return _HEAD[kind] + data + b"}\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """The state of one object: its encoded document and what the store must know of it.

    Attributes:
        rv: the resourceVersion, which ``data`` carries too.
        uid: of the object; a new object under an old name has another.
        data: the document as JSON, compact, in one canonical key order.
    """

    rv: int
    uid: str
    data: bytes


class Event:
    """One change of one object, kept once and shared by every watcher.

    Attributes:
        kind: what happened.
        key: of the object.
        rv: of the change; a deletion has its own.
        data: the document after the change, of a deletion the last one with the deletion's rv.
        previous: the document before, None for an addition.
    """

    __slots__ = ("_line", "data", "key", "kind", "previous", "rv")

    def __init__(
        self, kind: EventType, key: Key, rv: int, data: bytes, previous: bytes | None
    ) -> None:
        self.kind = kind
        self.key = key
        self.rv = rv
        self.data = data
        self.previous = previous
        self._line: bytes | None = None

    def line(self) -> bytes:
        """The event as a line of a watch stream; encoded at the first call."""
        if self._line is None:
            self._line = encode_event(self.kind, self.data)
        return self._line

    def forget_line(self) -> None:
        """Drop the encoded line; watchers that hold it keep it alive."""
        self._line = None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.key} rv={self.rv}>"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a collection at one resourceVersion.

    Attributes:
        rv: the version that every page of this listing shows.
        items: encoded documents in key order.
        next_key: where the next page starts, None on the last one.
        remaining: how many objects follow, None when a filter makes that unknown.
    """

    rv: int
    items: list[bytes]
    next_key: Key | None = None
    remaining: int | None = None


@dataclass(slots=True)
class Write:
    """A change that waits for its commit; ``entry`` is None for a deletion."""

    collection: str
    key: Key
    rv: int
    entry: Entry | None
    event: Event
    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Row:
    """What one commit writes for one key; ``entry`` is None when the row goes."""

    collection: str
    key: Key
    rv: int
    entry: Entry | None
