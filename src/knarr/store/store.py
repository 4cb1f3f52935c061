"""The store: compare-and-swap writes with group commit, consistent reads, watches with replay.

All state lives on the event loop's thread; the file is written by one thread, one commit at a time.
A write is decided at once against the newest state, staged or visible, gets the next resourceVersion,
and waits for the commit that carries it; everything that arrives while a commit runs shares the next.
When a commit fails, everything staged after it fails too, because it was decided on that state.

Durable writes become visible (reads, watches, the caller) after their fsync. Writes with
``durable=False`` become visible at once and reach the file with the next commit, at most
``lazy_delay_s`` later. Within one collection, visibility follows the order of versions.

Versions are never reused: the file holds an upper bound of what was handed out, raised in blocks
before it is reached, and a start begins there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from knarr.meta.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    NotFound,
    StatusError,
    TooManyRequests,
    Unavailable,
)
from knarr.meta.objects import Key
from knarr.store.collection import Accept, Collection
from knarr.store.commits import GroupCommit
from knarr.store.records import Entry, Event, Page, Row, Write
from knarr.store.sqlite import Database, StoreUnusable
from knarr.store.watcher import Interest, Watcher

Make = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the store's memory.

    Attributes:
        history_events: changes held per collection.
        history_bytes: documents held in all histories together; the largest history shrinks first.
        watcher_events, watcher_bytes: queued per watcher before it is closed.
        watchers: open at once; the next one is refused with 429.
        lazy_delay_s: how long a non-durable write may stay in memory alone.
    """

    history_events: int = 16_384
    history_bytes: int = 32 << 20
    watcher_events: int = 8_192
    watcher_bytes: int = 16 << 20
    watchers: int = 4_096
    lazy_delay_s: float = 0.2


class Store:
    """Objects by collection and key; one global resourceVersion.

    Args:
        path: of the SQLite file, or None for memory only (commits then run on the loop itself).
        limits: bounds of memory.
    """

    def __init__(self, path: Path | None, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._database = Database(path)
        self._threaded = path is not None
        self._opened: GroupCommit | None = None
        self._collections: dict[str, Collection] = {}
        self._staged: dict[tuple[str, Key], Write] = {}
        self._floor = 0
        self._history_bytes = 0
        self._watcher_count = 0

    async def __aenter__(self) -> Self:
        """Open and check the file, load every object.

        Raises:
            StoreUnusable: the file is in use, damaged or not writable.
        """
        self._database.open()
        try:
            self._floor = self._load()
            commits = GroupCommit(
                self._database,
                threaded=self._threaded,
                lazy_delay_s=self._limits.lazy_delay_s,
                publish=self._publish_batch,
                abandon=self._abandon,
            )
            commits.start(self._floor)
        except StatusError as error:
            self._database.close()
            raise StoreUnusable(error.message) from error
        except BaseException:
            self._database.close()
            raise
        self._opened = commits
        return self

    def _load(self) -> int:
        newest = self._database.reserved_rv()
        loaded: dict[str, dict[Key, Entry]] = {}
        for collection, key, entry in self._database.load():
            loaded.setdefault(collection, {})[key] = entry
            newest = max(newest, entry.rv)
        for name, entries in loaded.items():
            self._collections[name] = Collection(name, newest)
            self._collections[name].load(entries)
        return newest

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every watch, write what is staged, close the file."""
        for collection in self._collections.values():
            for watcher in collection.watchers:
                watcher.close()
            collection.watchers.clear()
        try:
            await self._commits.close()
        finally:
            self._opened = None
            self._database.close()

    @property
    def _commits(self) -> GroupCommit:
        if self._opened is None:
            raise Unavailable("the store is closed")
        return self._opened

    # Reads: synchronous, so that several of them see one state.

    def _collection(self, name: str) -> Collection:
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = Collection(name, self._floor)
        return found

    @property
    def assigned_rv(self) -> int:
        """The newest version handed out."""
        return self._commits.assigned_rv

    def visible_rv(self, collection: str) -> int:
        """The newest version whose state of this collection is visible."""
        pending = self._collection(collection).pending
        return pending[0] - 1 if pending else self.assigned_rv

    def changed_rv(self, collection: str) -> int:
        """The version of the collection's last visible change; for caches derived from it."""
        return self._collection(collection).changed_rv

    def size(self, collection: str) -> int:
        """How many objects the collection holds."""
        return len(self._collection(collection))

    def get(self, collection: str, key: Key) -> Entry | None:
        """The visible state of one object."""
        return self._collection(collection).get(key)

    def newest(self, collection: str, key: Key) -> Entry | None:
        """The state that a write is compared with: staged if there is one, else visible."""
        staged = self._staged.get((collection, key))
        return self._collection(collection).get(key) if staged is None else staged.entry

    def newest_within(self, collection: str, namespace: str = "") -> list[bytes]:
        """Every document of a namespace (or of all) that a write would be compared with, see ``newest``.

        For checks over many objects that must not miss one that is being written. No order is promised.
        """
        staged = {
            key: write.entry
            for (name, key), write in self._staged.items()
            if name == collection and namespace in ("", key.namespace)
        }
        current = self._collection(collection).within(namespace)
        documents = [entry.data for key, entry in current if key not in staged]
        return documents + [entry.data for entry in staged.values() if entry is not None]

    def page(
        self,
        collection: str,
        *,
        at: int | None = None,
        namespace: str = "",
        start: Key | None = None,
        limit: int = 0,
        accept: Accept | None = None,
    ) -> Page:
        """A part of a collection, in key order, at one version (the newest unless ``at``).

        Raises:
            Expired: ``at`` is older than the history.
        """
        visible = self.visible_rv(collection)
        return self._collection(collection).page(
            visible if at is None else min(at, visible),
            visible_rv=visible,
            namespace=namespace,
            start=start,
            limit=limit,
            accept=accept,
        )

    # Writes

    async def create(
        self, collection: str, key: Key, uid: str, make: Make, *, durable: bool = True
    ) -> Entry:
        """Add an object.

        Args:
            collection: qualified plural of the kind.
            key: of the object.
            uid: of the object.
            make: encodes the document for the version it is given; called once, at once.
            durable: whether to wait for the fsync.

        Raises:
            AlreadyExists: the key is taken.
            InsufficientStorage, Unavailable: nothing was written.
        """
        self._commits.check()
        if self.newest(collection, key) is not None:
            raise AlreadyExists(f'{collection} "{key.name}" already exists', name=key.name)
        rv = self.assigned_rv + 1
        entry = Entry(rv, uid, make(rv))
        await self._submit(
            collection, entry, Event("ADDED", key, rv, entry.data, None), durable=durable
        )
        return entry

    async def update(
        self, collection: str, key: Key, expected_rv: int, make: Make, *, durable: bool = True
    ) -> Entry:
        """Replace an object whose version is ``expected_rv``.

        Raises:
            NotFound: there is no such object.
            Conflict: it has another version.
            InsufficientStorage, Unavailable: nothing was written.
        """
        old = self._expect(collection, key, expected_rv)
        rv = self.assigned_rv + 1
        entry = Entry(rv, old.uid, make(rv))
        event = Event("MODIFIED", key, rv, entry.data, old.data)
        await self._submit(collection, entry, event, durable=durable)
        return entry

    async def delete(
        self, collection: str, key: Key, expected_rv: int, make: Make, *, durable: bool = True
    ) -> Entry:
        """Remove an object whose version is ``expected_rv``; returns its last document.

        ``make`` encodes that document with the version of the deletion.

        Raises:
            NotFound, Conflict, InsufficientStorage, Unavailable: as ``update``.
        """
        old = self._expect(collection, key, expected_rv)
        rv = self.assigned_rv + 1
        final = Entry(rv, old.uid, make(rv))
        event = Event("DELETED", key, rv, final.data, old.data)
        await self._submit(collection, None, event, durable=durable)
        return final

    def _expect(self, collection: str, key: Key, expected_rv: int) -> Entry:
        self._commits.check()
        old = self.newest(collection, key)
        if old is None:
            raise NotFound(f'{collection} "{key.name}" not found', name=key.name)
        if old.rv != expected_rv:
            raise Conflict(
                f'Operation cannot be fulfilled on {collection} "{key.name}": the object has been '
                f"modified; please apply your changes to the latest version and try again",
                name=key.name,
            )
        return old

    async def _submit(
        self, collection: str, entry: Entry | None, event: Event, *, durable: bool
    ) -> None:
        commits = self._commits
        holder = self._collection(collection)
        commits.assigned_rv = event.rv
        if not durable and event.rv <= commits.reserved_rv and not holder.pending:
            commits.submit_lazily(Row(collection, event.key, event.rv, entry))
            self._publish(holder, event, entry)
            return
        done = asyncio.get_running_loop().create_future()
        write = Write(collection, event.key, event.rv, entry, event, done)
        holder.pending.append(event.rv)
        self._staged[collection, event.key] = write
        commits.submit(write)
        await done

    async def settle(self) -> None:
        """Wait until every write that is staged now is durable and visible.

        Raises:
            InsufficientStorage, Unavailable: one of them failed.
        """
        await self._commits.settle()

    async def wait_broken(self) -> None:
        """Wait until the disk has failed for good; the process should then end."""
        await self._commits.broken.wait()

    def _publish_batch(self, writes: list[Write]) -> None:
        for write in writes:
            slot = (write.collection, write.key)
            if self._staged.get(slot) is write:
                del self._staged[slot]
            holder = self._collection(write.collection)
            holder.pending.popleft()
            self._publish(holder, write.event, write.entry)

    def _abandon(self) -> None:
        self._staged.clear()
        for collection in self._collections.values():
            collection.pending.clear()

    def _publish(self, holder: Collection, event: Event, entry: Entry | None) -> None:
        watching = len(holder.watchers)
        holder.apply(event, entry)
        self._watcher_count -= watching - len(holder.watchers)
        self._history_bytes += len(event.data)
        if holder.history_length > self._limits.history_events:
            self._shrink(holder)
        while self._history_bytes > self._limits.history_bytes:
            self._shrink(max(self._collections.values(), key=lambda each: each.history_bytes))

    def _shrink(self, holder: Collection) -> None:
        before = holder.history_bytes
        holder.forget_oldest()
        self._history_bytes -= before - holder.history_bytes

    # Watches

    def changes_after(self, collection: str, rv: int) -> list[Event]:
        """Every visible change after a version, oldest first.

        Raises:
            Expired: the version is older than the history, or was never handed out (the store was
                replaced since): the client must list again.
        """
        if rv > self.assigned_rv:
            raise Expired(f"unknown resource version: {rv} (newest is {self.assigned_rv})")
        return self._collection(collection).changes_after(rv)

    def watch(
        self,
        collection: str,
        *,
        namespace: str = "",
        name: str | None = None,
        interest: Interest | None = None,
    ) -> Watcher:
        """Subscribe to the changes that become visible from now on.

        Call ``page`` or ``changes_after`` without an ``await`` in between and nothing is lost or
        seen twice. Give the watcher back with ``unwatch``.

        Raises:
            TooManyRequests: too many watchers are open.
            Unavailable: the store is closed.
        """
        self._commits.check()
        if self._watcher_count >= self._limits.watchers:
            raise TooManyRequests("too many watches are open", retry_after_s=5)
        watcher = Watcher(
            namespace,
            name,
            interest,
            max_events=self._limits.watcher_events,
            max_bytes=self._limits.watcher_bytes,
        )
        self._collection(collection).watchers.add(watcher)
        self._watcher_count += 1
        return watcher

    def end_watches(self, collection: str) -> None:
        """End every subscription of a collection once what is queued has been read."""
        watchers = self._collection(collection).watchers
        self._watcher_count -= len(watchers)
        for watcher in watchers:
            watcher.close()
        watchers.clear()

    def unwatch(self, collection: str, watcher: Watcher) -> None:
        """End a subscription; harmless when it has ended already."""
        watchers = self._collection(collection).watchers
        if watcher in watchers:
            watchers.remove(watcher)
            self._watcher_count -= 1
        watcher.close(drop=True)
