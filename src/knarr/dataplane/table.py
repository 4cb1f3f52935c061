"""The versioned routing table: what every gateway is told, and how far each has come.

Each change makes one version and one delta with whole entries. The last deltas are kept, so that a
gateway that reconnects gets what it missed; one that missed more gets a snapshot. Lives on one event
loop; nothing here waits except ``acknowledged``.

Invariants: versions grow by one; setting an equal entry changes nothing; a revision that an ingress
still refers to is not removed but loses its replicas (*retired*), and leaves with the last reference.

Bounds: ``log_size`` deltas, the oldest dropped; waiters are bounded by their callers.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Hashable

import msgspec

from knarr.dataplane import messages
from knarr.dataplane.compile import referenced_revisions

LOG_SIZE = 1024

DeltaListener = Callable[[messages.Delta], None]
VersionListener = Callable[[int], None]


class RoutingTable:
    """Entries by key, their versions, and the acknowledgements of the gateways that are connected.

    Args:
        epoch: names this table's life; a new server has a new one.
        log_size: deltas kept for gateways that reconnect.
    """

    def __init__(self, epoch: str, log_size: int = LOG_SIZE) -> None:
        self.epoch = epoch
        self.version = 0
        self._ready = asyncio.Event()
        self._ingresses: dict[str, messages.Ingress] = {}
        self._revisions: dict[str, messages.Revision] = {}
        self._changed_in: dict[tuple[str, str], int] = {}
        self._references: Counter[str] = Counter()
        self._retired: set[str] = set()
        self._log: deque[messages.Delta] = deque(maxlen=log_size)
        self._delta_listeners: dict[Hashable, DeltaListener] = {}
        self._gateways: dict[Hashable, int] = {}
        self._ack_listeners: list[VersionListener] = []
        self._revision_listeners: list[Callable[[str], None]] = []
        self._waiters: set[tuple[int, asyncio.Future[None]]] = set()

    # --- entries ------------------------------------------------------------------------------

    def revision(self, key: str) -> messages.Revision | None:
        """A revision's entry; None also when it is retired."""
        return None if key in self._retired else self._revisions.get(key)

    def ingress(self, key: str) -> messages.Ingress | None:
        """An ingress's entry."""
        return self._ingresses.get(key)

    def set_revision(self, entry: messages.Revision) -> int:
        """Put a revision; the version that contains it."""
        new = entry.key not in self._revisions or entry.key in self._retired
        self._retired.discard(entry.key)
        if self._revisions.get(entry.key) != entry:
            self._revisions[entry.key] = entry
            self._publish(("revision", entry.key), revisions=(entry,))
        if new:
            for listener in self._revision_listeners:
                listener(entry.key)
        return self._changed_in[("revision", entry.key)]

    def remove_revision(self, key: str) -> None:
        """Take a revision out, or retire it while an ingress refers to it."""
        entry = self._revisions.get(key)
        if entry is None:
            return
        if self._references[key] > 0:
            self._retired.add(key)
            emptied = msgspec.structs.replace(entry, replicas=())
            if emptied != entry:
                self._revisions[key] = emptied
                self._publish(("revision", key), revisions=(emptied,))
            return
        self._drop_revision(key)

    def _drop_revision(self, key: str) -> None:
        del self._revisions[key]
        self._retired.discard(key)
        self._publish(None, removed_revisions=(key,))
        self._changed_in.pop(("revision", key), None)

    def set_ingress(self, entry: messages.Ingress) -> int:
        """Put an ingress; the version that contains it."""
        old = self._ingresses.get(entry.key)
        if old != entry:
            self._ingresses[entry.key] = entry
            self._publish(("ingress", entry.key), ingresses=(entry,))
            self._count_references(old, entry)
        return self._changed_in[("ingress", entry.key)]

    def remove_ingress(self, key: str) -> None:
        """Take an ingress out."""
        old = self._ingresses.pop(key, None)
        if old is not None:
            self._publish(None, removed_ingresses=(key,))
            self._changed_in.pop(("ingress", key), None)
            self._count_references(old, None)

    def _count_references(self, old: messages.Ingress | None, new: messages.Ingress | None) -> None:
        before = referenced_revisions(old) if old else frozenset[str]()
        after = referenced_revisions(new) if new else frozenset[str]()
        self._references.update(after - before)
        for key in before - after:
            self._references[key] -= 1
            if self._references[key] <= 0:
                del self._references[key]
                if key in self._retired:
                    self._drop_revision(key)

    def _publish(
        self,
        changed: tuple[str, str] | None,
        *,
        ingresses: tuple[messages.Ingress, ...] = (),
        revisions: tuple[messages.Revision, ...] = (),
        removed_ingresses: tuple[str, ...] = (),
        removed_revisions: tuple[str, ...] = (),
    ) -> None:
        self.version += 1
        if changed is not None:
            self._changed_in[changed] = self.version
        delta = messages.Delta(
            version=self.version,
            ingresses=ingresses,
            revisions=revisions,
            removed_ingresses=removed_ingresses,
            removed_revisions=removed_revisions,
        )
        self._log.append(delta)
        for listener in tuple(self._delta_listeners.values()):
            listener(delta)

    def on_revision(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the key of every revision that comes in for the first time."""
        self._revision_listeners.append(listener)

    # --- readers ------------------------------------------------------------------------------

    def ready(self) -> None:
        """The server has read its whole state: gateways may be told now."""
        self._ready.set()

    @property
    def is_ready(self) -> bool:
        """Whether ``ready`` was called."""
        return self._ready.is_set()

    def snapshot(self) -> messages.Snapshot:
        """Everything, as of now."""
        return messages.Snapshot(
            epoch=self.epoch,
            version=self.version,
            ingresses=tuple(self._ingresses.values()),
            revisions=tuple(self._revisions.values()),
        )

    def deltas_since(self, epoch: str, version: int) -> tuple[messages.Delta, ...] | None:
        """What a gateway that holds ``version`` lacks; None when only a snapshot helps."""
        if epoch != self.epoch or version > self.version:
            return None
        missing = self.version - version
        if missing > len(self._log):
            return None
        return tuple(self._log)[len(self._log) - missing :]

    # --- gateways -----------------------------------------------------------------------------

    @property
    def gateways(self) -> int:
        """How many gateways are connected."""
        return len(self._gateways)

    @property
    def acknowledged_version(self) -> int | None:
        """The version that every connected gateway routes by; None without any."""
        return min(self._gateways.values(), default=None)

    def is_acknowledged(self, revision: str) -> bool:
        """Whether every connected gateway, and at least one, routes by a revision's newest entry."""
        changed = self._changed_in.get(("revision", revision))
        acknowledged = self.acknowledged_version
        return changed is not None and acknowledged is not None and changed <= acknowledged

    def join(self, gateway: Hashable, held: int, listener: DeltaListener) -> None:
        """A gateway is connected and holds ``held`` of this epoch (0: nothing)."""
        self._gateways[gateway] = held
        self._delta_listeners[gateway] = listener
        self._settle()

    def acknowledge(self, gateway: Hashable, version: int) -> None:
        """A gateway routes by ``version``."""
        if version > self._gateways.get(gateway, version):
            self._gateways[gateway] = version
            self._settle()

    def leave(self, gateway: Hashable) -> None:
        """A gateway is gone; nobody waits for it."""
        self._gateways.pop(gateway, None)
        self._delta_listeners.pop(gateway, None)
        self._settle()

    def _settle(self) -> None:
        acknowledged = self.acknowledged_version
        if acknowledged is None:
            return
        for waiter in tuple(self._waiters):
            if waiter[0] <= acknowledged:
                self._waiters.discard(waiter)
                if not waiter[1].done():
                    waiter[1].set_result(None)
        for listener in self._ack_listeners:
            listener(acknowledged)

    def on_acknowledged(self, listener: VersionListener) -> None:
        """Call ``listener`` with the common version whenever a gateway acknowledges, joins or leaves."""
        self._ack_listeners.append(listener)

    async def acknowledged(self, version: int, timeout_s: float | None = None) -> None:
        """Wait until every connected gateway, and at least one, routes by ``version``.

        Raises:
            TimeoutError: that took longer than ``timeout_s``.
        """
        current = self.acknowledged_version
        if current is not None and current >= version:
            return
        future = asyncio.get_running_loop().create_future()
        waiter = (version, future)
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        finally:
            self._waiters.discard(waiter)
