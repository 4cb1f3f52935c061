"""A cache of one kind that follows the API: list, watch, resume, and start over when history is gone.

Entering the context waits until the cache holds everything. Afterwards the cache may be stale but is
never wrong for long: a stream that ends is resumed at the last resourceVersion; after 410 everything is
read again, and what vanished meanwhile is reported as deleted. Handlers run synchronously between two
events and must only enqueue keys.

``observe`` and ``forget`` let a controller put its own writes into the cache at once, so that its next
pass does not act on the world before them (client-go needs "expectations" for that).
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec

from knarr.kits.backoff import Backoff
from knarr.kits.clock import Clock
from knarr.kits.tasks import TaskScope
from knarr.kube.cache import Cache, Change, Handler, IndexFunction
from knarr.kube.client import Client, selector_query
from knarr.kube.codec import Undecodable
from knarr.meta.errors import (
    BadRequest,
    Expired,
    Invalid,
    StatusError,
    Timeout,
    error_from_status,
)
from knarr.meta.objects import Key, Resource
from knarr.meta.selectors import parse_field_selector, parse_label_selector
from knarr.resources.kind import Kind

LOG = logging.getLogger(__name__)
T = TypeVar("T", bound=Resource)

RECONNECT = Backoff(initial_s=0.05, max_s=1.0, jitter=0.5)
_SHORT_STREAM_S = 1.0
_STREAM_LIFETIME_S = (290, 590)
_STREAM_GRACE_S = 30.0
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class InformerStatistics:
    """State of an informer.

    Attributes:
        objects: held.
        size_bytes: encoded size of all objects.
        resource_version: up to which the cache is complete.
        relists: times everything was read.
        streams: watches opened.
        undecodable: objects left out because they do not fit the model.
        last_error: text of the last failure, empty when there was none.
    """

    objects: int
    size_bytes: int
    resource_version: str
    relists: int
    streams: int
    undecodable: int
    last_error: str


class Informer(Generic[T]):
    """Follows the objects of one kind in one namespace (or all) that match the selectors.

    With ``keep`` the cache holds what that makes of each object, instead of the documents as they came:
    with a model of few fields, for kinds of which little matters.
    """

    def __init__(  # noqa: PLR0913 - what to follow takes four arguments, how takes three
        self,
        kind: Kind[T],
        client: Client,
        *,
        clock: Clock,
        rng: random.Random,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        keep: Callable[[T], T] | None = None,
        decoded_limit: int = 512,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self._client = client
        self._clock = clock
        self._rng = rng
        self._query = selector_query(label_selector, field_selector)
        self._labels = parse_label_selector(label_selector)
        self._fields = parse_field_selector(field_selector)
        self._keep = keep
        self._cache: Cache[T] = Cache(self._decode, decoded_limit)
        self._handlers: list[Handler[T]] = []
        self._synced = asyncio.Event()
        self._scope: TaskScope | None = None
        self._version = ""
        self._resumable = False
        self._list_first = False
        self._relists = self._streams = self._undecodable = 0
        self._last_error = ""

    # --- reading: the Lister protocol ---------------------------------------------------------------

    def get(self, key: Key) -> T | None:
        """One object, or None."""
        return self._cache.get(key)

    def list(self, namespace: str = "") -> tuple[T, ...]:
        """All objects of a namespace or, empty, of all; sorted by key."""
        return self._cache.list(namespace)

    def by_index(self, name: str, value: str) -> tuple[T, ...]:
        """The objects that the index function files under ``value``; sorted by key."""
        return self._cache.by_index(name, value)

    def keys_by_index(self, name: str, value: str) -> tuple[Key, ...]:
        """As ``by_index``, without decoding."""
        return self._cache.keys_by_index(name, value)

    def keys(self) -> tuple[Key, ...]:
        """All keys, sorted."""
        return tuple(sorted(self._cache.keys()))

    def __len__(self) -> int:
        return len(self._cache)

    def __contains__(self, key: object) -> bool:
        return key in self._cache

    # --- declaring ----------------------------------------------------------------------------------

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Declare an index; declaring the same function again under its name is harmless."""
        self._cache.add_index(name, function)

    def add_handler(self, handler: Handler[T]) -> None:
        """Call ``handler`` on every change; objects held already are reported as added now."""
        self._handlers.append(handler)
        for key in self.keys():
            handler(Change(key, None, self._cache.get(key)))

    # --- running ------------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether the cache was complete once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return when the cache is complete."""
        await self._synced.wait()

    async def __aenter__(self) -> "Informer[T]":
        scope = TaskScope()
        await scope.__aenter__()
        self._scope = scope
        try:
            scope.start(self.run(), name=f"informer-{self.kind.qualified_plural}")
            await self.wait_synced()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(kind, error, traceback)

    async def run(self) -> None:
        """Follow the API until cancelled; for owners that bring their own task group."""
        attempt = 0
        while True:
            started = self._clock.monotonic()
            try:
                await self._follow()
            except (Expired, Timeout):
                # Too old, or (504) newer than anything the server has: it lost its store.
                self._resumable = False
            except (StatusError, TimeoutError, OSError) as error:
                self._last_error = str(error) or "the watch went silent"
                LOG.debug("informer %s: %s", self.kind.qualified_plural, self._last_error)
            else:
                self._last_error = ""
            if self._clock.monotonic() - started >= _SHORT_STREAM_S:
                attempt = 0
            await asyncio.sleep(RECONNECT.delay_s(attempt, self._rng) if attempt else 0)
            attempt += 1

    async def _follow(self) -> None:
        if not self._resumable and self._list_first:
            await self._relist()
        initial = not self._resumable
        lifetime_s = self._rng.randint(*_STREAM_LIFETIME_S)
        query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(lifetime_s),
        }
        if initial:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            self._relists += 1
        else:
            query["resourceVersion"] = self._version
        self._streams += 1
        path = self.kind.collection_path(self.namespace)
        try:
            async with (
                asyncio.timeout(lifetime_s + _STREAM_GRACE_S),
                self._client.transport.watch(path, query=query) as lines,
            ):
                await self._consume(lines, initial=initial)
        except (Invalid, BadRequest):
            if not initial:
                raise
            # A server without streaming lists refuses the parameter.
            self._list_first = True

    async def _relist(self) -> None:
        body = await self._client.transport.request(
            "GET", self.kind.collection_path(self.namespace), query=self._query
        )
        page = self._client.codec.decode_list(body)
        self._relists += 1
        seen = {self._store(bytes(item)) for item in page.items or ()}
        self._complete(seen, page.metadata.resource_version)

    async def _consume(self, lines: AsyncIterator[bytes], *, initial: bool) -> None:
        seen: set[Key | None] | None = set() if initial else None
        async for line in lines:
            kind, raw = self._client.codec.decode_event(line)
            match kind:
                case "ADDED" | "MODIFIED":
                    key = self._store(bytes(raw))
                    if seen is not None:
                        seen.add(key)
                case "DELETED":
                    self._drop(raw)
                case "BOOKMARK":
                    seen = self._bookmark(raw, seen)
                case _:
                    raise error_from_status(msgspec.json.decode(raw), 500)

    def _bookmark(self, raw: msgspec.Raw, seen: set[Key | None] | None) -> set[Key | None] | None:
        metadata = self._metadata(raw).metadata
        if seen is None:
            self._version = metadata.resource_version
        elif metadata.annotation(_INITIAL_EVENTS_END) == "true":
            self._complete(seen, metadata.resource_version)
            return None
        return seen

    def _complete(self, seen: set[Key | None], version: str) -> None:
        """Everything up to ``version`` was read: what was not seen is gone."""
        for key in self.keys():
            if key not in seen:
                self._notify(self._cache.remove(key))
        self._version = version
        self._resumable = True
        self._synced.set()

    # --- changing the cache -------------------------------------------------------------------------

    def _decode(self, document: bytes) -> T:
        return self._client.codec.decode(self.kind, document)

    @staticmethod
    def _metadata(raw: msgspec.Raw) -> Resource:
        try:
            return msgspec.json.decode(raw, type=Resource)
        except msgspec.DecodeError as error:
            raise Undecodable(f"the API's watch sent no object: {error}") from error

    def _store(self, document: bytes) -> Key | None:
        """Put an object that the API sent into the cache; None when it cannot be decoded."""
        try:
            decoded = self._decode(document)
        except Undecodable as error:
            self._undecodable += 1
            LOG.error("informer %s: %s", self.kind.qualified_plural, error)  # noqa: TRY400 - not ours
            return None
        version = decoded.metadata.resource_version
        if self._resumable:
            self._version = version
            changed = self._held(decoded.key) < _number(version)
        else:
            # While everything is read the answer rules, even when the store went back in time.
            changed = self._held(decoded.key) != _number(version)
        if changed:
            self._put(decoded, document)
        return decoded.key

    def _put(self, subject: T, document: bytes | None = None) -> None:
        """Cache an object and tell of it; ``document`` is its encoding where that is known."""
        if self._keep is not None:
            subject, document = self._keep(subject), None
        if document is None:
            document = self._client.codec.encode(self.kind, subject)
        self._notify(self._cache.put(subject.key, document, subject))

    def _held(self, key: Key) -> int:
        """The version of the cached object; -1 when there is none."""
        held = self._cache.get(key)
        return -1 if held is None else _number(held.metadata.resource_version)

    def _drop(self, raw: msgspec.Raw) -> None:
        gone = self._metadata(raw)
        version = gone.metadata.resource_version
        if self._held(gone.key) <= _number(version):
            self._notify(self._cache.remove(gone.key))
        if self._resumable:
            self._version = version

    def _notify(self, change: Change[T] | None) -> None:
        if change is not None:
            for handler in self._handlers:
                handler(change)

    # --- own writes ---------------------------------------------------------------------------------

    def observe(self, subject: T) -> None:
        """Take the answer to a write of ours into the cache before the watch brings it.

        Ignored when the watch is further already, or when the object is not one that is followed here.
        """
        version = _number(subject.metadata.resource_version)
        if not self._resumable or version <= _number(self._version) or not self._selects(subject):
            return
        if self._held(subject.key) < version:
            self._put(subject)

    def forget(self, key: Key, uid: str) -> None:
        """Take an object that we deleted, and that is gone, out of the cache at once."""
        held = self._cache.get(key)
        if held is not None and held.metadata.uid == uid:
            self._notify(self._cache.remove(key))

    def clear(self) -> None:
        """Report everything that is held as deleted: the kind itself is gone."""
        for key in self.keys():
            self._notify(self._cache.remove(key))

    def _selects(self, subject: T) -> bool:
        if self.namespace and subject.metadata.namespace != self.namespace:
            return False
        if not self._labels.matches(subject.metadata.labels):
            return False
        return not self._fields or self._fields.matches(self._field_reader(subject))

    def _field_reader(self, subject: T) -> Any:
        document = self._client.codec.document(subject)

        def value_of(path: str) -> str:
            if path in ("metadata.name", "metadata.namespace"):
                return str(document["metadata"].get(path.rpartition(".")[2], ""))
            reader = self.kind.selectable.get(path)
            return reader(document) if reader is not None else ""

        return value_of

    def statistics(self) -> InformerStatistics:
        """A snapshot for metrics and tests."""
        return InformerStatistics(
            objects=len(self._cache),
            size_bytes=self._cache.size_bytes,
            resource_version=self._version,
            relists=self._relists,
            streams=self._streams,
            undecodable=self._undecodable,
            last_error=self._last_error,
        )


def _number(version: str) -> int:
    """A resourceVersion as the counter it is (numeric order is official since Kubernetes 1.35)."""
    return int(version) if version.isdigit() else 0
