"""One collection in memory: the current objects in key order and the recent changes.

Everything here is synchronous and runs on the event loop's thread, which is what makes "snapshot,
then every later change" atomic for whoever registers a watcher.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator

from knarr.meta.errors import Expired
from knarr.meta.objects import Key
from knarr.store.records import Entry, Event, Page
from knarr.store.watcher import Watcher

# Lines of so many recent events stay encoded, so that all watchers share one encoding.
_LINES_KEPT = 64
Accept = Callable[[bytes], bool]


class Collection:
    """The objects of one resource, what happened to them lately, and who listens.

    Attributes:
        floor: changes after this version are held; anything older is Expired.
        history_bytes: size of the documents in the history.
        pending: versions that are assigned but not yet visible, oldest first.
    """

    def __init__(self, name: str, floor: int) -> None:
        self.name = name
        self.floor = floor
        self.changed_rv = floor
        self.history_bytes = 0
        self.pending: deque[int] = deque()
        self.watchers: set[Watcher] = set()
        self._entries: dict[Key, Entry] = {}
        self._keys: list[Key] = []
        self._history: deque[Event] = deque()
        self._lined: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, entries: dict[Key, Entry]) -> None:
        """Take over what was on disk."""
        self._entries = entries
        self._keys = sorted(entries)

    def get(self, key: Key) -> Entry | None:
        """The current state of one object."""
        return self._entries.get(key)

    def apply(self, event: Event, entry: Entry | None) -> None:
        """Make a change visible: state, history, watchers, in this order."""
        key = event.key
        if entry is None:
            del self._entries[key]
            del self._keys[bisect_left(self._keys, key)]
        else:
            if key not in self._entries:
                insort(self._keys, key)
            self._entries[key] = entry
        self.changed_rv = event.rv
        self._history.append(event)
        self.history_bytes += len(event.data)
        for watcher in tuple(self.watchers):
            watcher.offer(event)
            if watcher.closed:
                self.watchers.discard(watcher)
        self._lined.append(event)
        if len(self._lined) > _LINES_KEPT:
            self._lined.popleft().forget_line()

    def forget_oldest(self) -> None:
        """Drop the oldest change from the history and raise the floor."""
        event = self._history.popleft()
        self.history_bytes -= len(event.data)
        self.floor = event.rv

    @property
    def history_length(self) -> int:
        """How many changes are held."""
        return len(self._history)

    def changes_after(self, rv: int) -> list[Event]:
        """Every change after a version, oldest first.

        Raises:
            Expired: the history does not reach back that far.
        """
        if rv < self.floor:
            raise Expired(f"too old resource version: {rv} ({self.floor})")
        result: list[Event] = []
        for event in reversed(self._history):
            if event.rv <= rv:
                break
            result.append(event)
        result.reverse()
        return result

    def page(
        self,
        rv: int,
        *,
        visible_rv: int,
        namespace: str = "",
        start: Key | None = None,
        limit: int = 0,
        accept: Accept | None = None,
    ) -> Page:
        """A part of the collection as it was at version ``rv``.

        Args:
            rv: the version to show.
            visible_rv: the newest visible version; an older ``rv`` is rebuilt from the history.
            namespace: only this one, unless empty.
            start: the first key that may appear.
            limit: at most this many items; 0 means all.
            accept: keeps a document; None keeps all.

        Raises:
            Expired: the history does not reach back to ``rv``.
        """
        then = self._undone_to(rv) if rv < visible_rv else {}
        items: list[bytes] = []
        keys = self._range(namespace, start, then)
        for index, key in enumerate(keys):
            data = then[key] if key in then else self._entries[key].data
            if data is None or (accept is not None and not accept(data)):
                continue
            if limit and len(items) == limit:
                remaining = None
                if accept is None:
                    remaining = sum(then.get(later, b"") is not None for later in keys[index:])
                return Page(rv, items, key, remaining)
            items.append(data)
        return Page(rv, items)

    def _undone_to(self, rv: int) -> dict[Key, bytes | None]:
        """The documents, as of ``rv``, of the objects that changed since."""
        then: dict[Key, bytes | None] = {}
        for event in self.changes_after(rv):
            then.setdefault(event.key, event.previous)
        return then

    def _range(self, namespace: str, start: Key | None, also: dict[Key, bytes | None]) -> list[Key]:
        keys = self._keys
        missing = [key for key in also if key not in self._entries]
        if missing:
            keys = sorted((*keys, *missing))
        low = Key(namespace, "") if namespace else Key("", "")
        if start is not None and start > low:
            low = start
        first = bisect_left(keys, low)
        last = bisect_left(keys, Key(namespace + "\0", "")) if namespace else len(keys)
        return keys[first:last]

    def within(self, namespace: str) -> Iterator[tuple[Key, Entry]]:
        """The objects of one namespace or, empty, of all, in key order."""
        for key in self._range(namespace, None, {}):
            yield key, self._entries[key]

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """Every object, in no particular order."""
        return iter(self._entries.items())
