"""Addresses of sandboxes: one IPv4 host each from the pod network.

Index 0 is the network address and 1 the pod gateway; sandboxes get 2 and up. What is taken is remembered
by the sandboxes' records, so this allocator holds no file of its own.
"""

import ipaddress
from dataclasses import dataclass, field

from knarr.meta.errors import KnarrError

GATEWAY_INDEX = 1
_FIRST_INDEX = 2
_MAX_INDEX = 65_000  # id ranges of sandboxes follow the index and must stay below 2^32


class AddressesExhausted(KnarrError):
    """Every address of the pod network is in use."""


@dataclass(slots=True)
class AddressPool:
    """Hands out indexes round robin, so that an address rests before it is used again."""

    network: ipaddress.IPv4Network
    taken: set[int] = field(default_factory=set)
    _next: int = _FIRST_INDEX

    @property
    def gateway(self) -> str:
        """The pod gateway's address."""
        return self.address(GATEWAY_INDEX)

    @property
    def capacity(self) -> int:
        """How many sandboxes can exist at once."""
        return min(self.network.num_addresses - 2, _MAX_INDEX) - _FIRST_INDEX + 1

    def address(self, index: int) -> str:
        """The address with an index."""
        return str(self.network.network_address + index)

    def take(self) -> int:
        """A free index.

        Raises:
            AddressesExhausted: there is none.
        """
        if len(self.taken) >= self.capacity:
            raise AddressesExhausted(
                f"all {self.capacity} addresses of {self.network} are in use; "
                "start Knarr with a larger --pod-cidr"
            )
        last = _FIRST_INDEX + self.capacity - 1
        while self._next in self.taken:
            self._next = _FIRST_INDEX if self._next >= last else self._next + 1
        index = self._next
        self._next = _FIRST_INDEX if index >= last else index + 1
        self.taken.add(index)
        return index

    def claim(self, index: int) -> None:
        """Mark an index as taken: a recovered sandbox holds it."""
        self.taken.add(index)

    def release(self, index: int) -> None:
        """Give an index back. Idempotent."""
        self.taken.discard(index)
