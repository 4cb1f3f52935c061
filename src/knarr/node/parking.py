"""Which sandboxes stay parked: the most recently used ones, up to a bound in bytes. Pure.

At most one per ReplicaSet. Sizes are what the kernel charges, or an estimate where it does not tell.
"""

from collections import OrderedDict
from dataclasses import dataclass

ESTIMATE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parked:
    """One parked sandbox.

    Attributes:
        replica_set: uid of the owner.
        fingerprint: of what it was made from.
    """

    sandbox: str
    replica_set: str
    fingerprint: str
    size_bytes: int = ESTIMATE_BYTES


class ParkingLot:
    """What is parked, least recently used first. Every change returns the sandboxes that must go."""

    __slots__ = ("_entries", "bound_bytes")

    def __init__(self, bound_bytes: int) -> None:
        self.bound_bytes = bound_bytes
        self._entries: OrderedDict[str, Parked] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Of everything parked."""
        return sum(entry.size_bytes for entry in self._entries.values())

    @property
    def entries(self) -> tuple[Parked, ...]:
        """Everything parked, least recently used first."""
        return tuple(self._entries.values())

    def admits(self, size_bytes: int = ESTIMATE_BYTES) -> bool:
        """Whether a sandbox of this size can be parked at all."""
        return size_bytes <= self.bound_bytes

    def find(self, replica_set: str) -> Parked | None:
        """The parked sandbox of a ReplicaSet; it stays."""
        return self._entries.get(replica_set)

    def put(self, entry: Parked) -> list[Parked]:
        """Park one, as the most recently used; an older one of its ReplicaSet goes."""
        gone = [old] if (old := self._entries.pop(entry.replica_set, None)) else []
        self._entries[entry.replica_set] = entry
        return gone + self._shrink()

    def take(self, replica_set: str) -> Parked | None:
        """Remove and return the parked sandbox of a ReplicaSet."""
        return self._entries.pop(replica_set, None)

    def _shrink(self) -> list[Parked]:
        gone = []
        size = self.size_bytes
        while self._entries and size > self.bound_bytes:
            _, entry = self._entries.popitem(last=False)
            size -= entry.size_bytes
            gone.append(entry)
        return gone
