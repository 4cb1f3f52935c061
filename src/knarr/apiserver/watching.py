"""Watches: a snapshot or a replay, then every change, as lines of JSON.

Registration and snapshot happen without an ``await`` in between. The watcher's queue is bounded; when a
client is too slow the stream ends and the client resumes from the last version that it saw.
"""

import asyncio
import random
from typing import Any

import msgspec

from knarr.apiserver.negotiation import Representation, negotiate
from knarr.apiserver.reading import parse_version
from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.apiserver.routing import Route
from knarr.apiserver.selection import Accept, Selection, select
from knarr.apiserver.served import ENCODER, Served
from knarr.apiserver.tables import parse_include, partial_metadata, table
from knarr.kits.clock import Clock
from knarr.meta.errors import BadRequest, Cause, Expired, Invalid, StatusError, status_body
from knarr.meta.objects import Key
from knarr.store.records import Event, EventType, encode_event
from knarr.store.store import Store

_INITIAL_BATCH = 256
_BOOKMARK_EVERY_S = 60.0
_TIMEOUT_S = (1800.0, 3600.0)
_INITIAL_END = "k8s.io/initial-events-end"


class Watching:
    """Opens watch streams."""

    def __init__(self, store: Store, clock: Clock, rng: random.Random) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng

    async def watch(self, route: Route, request: ApiRequest) -> ApiResponse:
        """GET with ``watch`` on a collection.

        Raises:
            BadRequest, Invalid: a parameter is wrong.
            TooManyRequests: too many watches are open.
        """
        options = _Options.parse(route, request, self._timeout_s(request))
        rendering = _Rendering(route.served, request, self._clock)
        stream = WatchStream(self._store, route.served, options, rendering)
        return ApiResponse(200, stream=stream)

    def _timeout_s(self, request: ApiRequest) -> float:
        seconds = request.integer("timeoutSeconds")
        return float(seconds) if seconds else self._rng.uniform(*_TIMEOUT_S)


class _Options:
    """What a watch request asks for."""

    __slots__ = ("bookmarks", "initial", "initial_end", "selection", "since", "timeout_s")

    def __init__(
        self,
        selection: Selection,
        *,
        since: int,
        initial: bool,
        initial_end: bool,
        bookmarks: bool,
        timeout_s: float,
    ) -> None:
        self.selection = selection
        self.since = since
        self.initial = initial
        self.initial_end = initial_end
        self.bookmarks = bookmarks
        self.timeout_s = timeout_s

    @classmethod
    def parse(cls, route: Route, request: ApiRequest, timeout_s: float) -> "_Options":
        version = request.text("resourceVersion")
        since = parse_version(version)
        bookmarks = request.flag("allowWatchBookmarks")
        if request.text("continue"):
            raise BadRequest("continue is not supported for watches")
        selection = select(route, request)
        sent = request.text("sendInitialEvents")
        _check_match(request, sent=sent)
        if sent and request.flag("sendInitialEvents"):
            return cls(
                selection, since=since or 0, initial=True, initial_end=bookmarks,
                bookmarks=bookmarks, timeout_s=timeout_s,
            )  # fmt: skip
        # sendInitialEvents=false at "newest" means: only what happens from now on.
        initial = not since and not sent
        return cls(
            selection,
            since=-1 if sent and since is None else since or 0,
            initial=initial,
            initial_end=initial and bookmarks and version == "0",
            bookmarks=bookmarks,
            timeout_s=timeout_s,
        )


def _check_match(request: ApiRequest, *, sent: str) -> None:
    match = request.text("resourceVersionMatch")
    if sent and match != "NotOlderThan":
        message = (
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            if not match
            else f'Unsupported value: "{match}": supported values: "NotOlderThan"'
        )
    elif match and not sent:
        message = (
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
            "provided"
        )
    else:
        return
    raise Invalid(
        f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: {message}',
        kind="ListOptions",
        group="meta.k8s.io",
        causes=[Cause(reason="FieldValueForbidden", message=message, field="resourceVersionMatch")],
    )


class WatchStream:
    """One open watch (a ``request.Stream``).

    The watcher exists from construction on; ``close`` must be called.
    """

    def __init__(
        self, store: Store, served: Served, options: _Options, rendering: "_Rendering"
    ) -> None:
        self._store = store
        self._collection = served.collection
        self._options = options
        self._rendering = rendering
        self._shown = served.shown
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + options.timeout_s
        self._bookmark_at = self._loop.time() + _BOOKMARK_EVERY_S
        self._end_bookmark = options.initial_end
        self._last_line: bytes | None = None
        self._initial: list[bytes] = []
        self._replay: list[Event] = []
        selection = options.selection
        self._accept = _never if selection.never else selection.accept
        self._watcher = store.watch(
            self._collection,
            namespace=selection.namespace,
            name=selection.name,
            interest=self._interested if self._accept is not None else None,
        )
        try:
            self._start()
        except StatusError as error:
            self._end_with(error)

    def _start(self) -> None:
        options, store = self._options, self._store
        self._rv = store.visible_rv(self._collection)
        if options.initial:
            if options.since > store.assigned_rv:
                raise Expired(f"unknown resource version: {options.since} ({store.assigned_rv})")
            self._initial = self._snapshot()
        elif options.since >= 0:
            changes = store.changes_after(self._collection, options.since)
            wanted = [event for event in changes if self._watcher.wants(event)]
            self._replay = wanted

    def _snapshot(self) -> list[bytes]:
        selection = self._options.selection
        if selection.name is not None and selection.namespace:
            entry = self._store.get(self._collection, Key(selection.namespace, selection.name))
            documents = [entry.data] if entry is not None else []
        else:
            documents = self._store.page(self._collection, namespace=selection.namespace).items
            if selection.name is not None:
                documents = [item for item in documents if _name_of(item) == selection.name]
        if self._accept is not None:
            documents = [item for item in documents if self._accept(item)]
        documents.reverse()
        return documents

    def _end_with(self, error: StatusError) -> None:
        self._store.unwatch(self._collection, self._watcher)
        self._initial, self._replay, self._end_bookmark = [], [], False
        self._last_line = (
            b'{"type":"ERROR","object":' + msgspec.json.encode(status_body(error)) + b"}\n"
        )

    def _interested(self, event: Event) -> bool:
        return _transition(event, self._accept) is not None

    async def next_chunks(self) -> list[bytes] | None:
        """The next lines, at least one; None at the end of the stream."""
        lines = self._prepared()
        while not lines:
            now = self._loop.time()
            until = min(self._deadline, self._bookmark_at)
            batch = await self._watcher.next_batch(max(until - now, 0.0))
            if batch is None:
                return None
            lines = self._render(batch)
            if lines:
                break
            if self._loop.time() >= self._deadline:
                return None
            lines = self._periodic_bookmark()
        return lines

    def _prepared(self) -> list[bytes]:
        """Lines that need no waiting, in order: snapshot, its bookmark, replay, a final error."""
        if self._initial:
            count = min(_INITIAL_BATCH, len(self._initial))
            batch = [self._initial.pop() for _ in range(count)]
            return [self._rendering.line("ADDED", self._shown(data)) for data in batch]
        if self._end_bookmark:
            self._end_bookmark = False
            return [self._rendering.bookmark(self._rv, initial_end=True)]
        if self._replay:
            batch_of, self._replay = self._replay[:_INITIAL_BATCH], self._replay[_INITIAL_BATCH:]
            return self._render(batch_of) or self._prepared()
        if self._last_line is not None:
            line, self._last_line = self._last_line, None
            return [line]
        return []

    def _render(self, events: list[Event]) -> list[bytes]:
        lines = []
        for event in events:
            transition = _transition(event, self._accept)
            if transition is None:
                continue
            data = _document_of(event, transition)
            shown = self._shown(data)
            if transition is event.kind and shown is event.data and self._rendering.plain:
                lines.append(event.line())
            else:
                lines.append(self._rendering.line(transition, shown))
        return lines

    def _periodic_bookmark(self) -> list[bytes]:
        if self._loop.time() < self._bookmark_at:
            return []
        self._bookmark_at = self._loop.time() + _BOOKMARK_EVERY_S
        if not self._options.bookmarks:
            return []
        rv = self._store.visible_rv(self._collection)
        return [self._rendering.bookmark(rv, initial_end=False)]

    async def close(self) -> None:
        """Give the watcher back."""
        self._store.unwatch(self._collection, self._watcher)

    def end(self) -> None:
        """Let the stream end once what is queued has been read."""
        self._watcher.close()


def _never(_data: bytes) -> bool:
    return False


def _name_of(data: bytes) -> str:
    return str(msgspec.json.decode(data)["metadata"].get("name", ""))


def _transition(event: Event, accept: Accept | None) -> EventType | None:
    """What an event means to a watcher that sees only accepted documents; None: nothing."""
    if accept is None:
        return event.kind
    before = event.previous is not None and accept(event.previous)
    after = event.kind != "DELETED" and accept(event.data)
    if before:
        return "MODIFIED" if after else "DELETED"
    return "ADDED" if after else None


def _document_of(event: Event, transition: EventType) -> bytes:
    """The document of an event; one that left the selection is shown as it was, at the new version."""
    if transition != "DELETED" or event.kind == "DELETED" or event.previous is None:
        return event.data
    document = msgspec.json.decode(event.previous)
    document["metadata"]["resourceVersion"] = str(event.rv)
    return ENCODER.encode(document)


class _Rendering:
    """Lines in the form that the client negotiated."""

    def __init__(self, served: Served, request: ApiRequest, clock: Clock) -> None:
        self._served = served
        self._clock = clock
        self._wanted: Representation = negotiate(request.accept)
        self._include = parse_include(request.text("includeObject"))
        self._headed = True
        self.plain = self._wanted.form == "object"

    def line(self, kind: EventType, data: bytes) -> bytes:
        """One event."""
        if self.plain:
            return encode_event(kind, data)
        return encode_event(kind, msgspec.json.encode(self._document(data)))

    def _document(self, data: bytes) -> dict[str, Any]:
        document = msgspec.json.decode(data)
        if self._wanted.form == "metadata":
            return partial_metadata(document, self._wanted.version)
        headed, self._headed = self._headed, False
        metadata = {"resourceVersion": document["metadata"].get("resourceVersion", "")}
        now = self._clock.wall().timestamp()
        return table(
            self._served, [data], metadata, self._include, self._wanted.version, now, headed=headed
        )

    def bookmark(self, rv: int, *, initial_end: bool) -> bytes:
        """A line that says only how far the stream is."""
        metadata: dict[str, Any] = {"resourceVersion": str(rv)}
        if initial_end:
            metadata["annotations"] = {_INITIAL_END: "true"}
        kind = self._served.kind
        document: dict[str, Any] = {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": metadata,
        }
        if self._wanted.form == "metadata":
            document = partial_metadata(document, self._wanted.version)
        elif self._wanted.form == "table":
            document = {
                "kind": "Table",
                "apiVersion": f"meta.k8s.io/{self._wanted.version}",
                "metadata": metadata,
                "columnDefinitions": None,
                "rows": [],
            }
        return msgspec.json.encode({"type": "BOOKMARK", "object": document}) + b"\n"
