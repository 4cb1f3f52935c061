"""Which Service has which cluster IP and which node ports.

The store is the truth; this is an index over it that may be out of date in one direction only: it may
name a Service that has gone, changed or was never written. Every entry is therefore checked against the
newest state before it counts, and nobody needs to tell this index of deletions or failed writes. Between
the check and the write of the new Service there is no ``await``.
"""

import ipaddress
from collections.abc import Iterable

import msgspec

from knarr.meta.objects import Key, ObjectMeta, Struct
from knarr.store.store import Store

COLLECTION = "services"


class _Port(Struct, frozen=True, kw_only=True):
    node_port: int = 0


class _Spec(Struct, frozen=True, kw_only=True):
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ports: tuple[_Port, ...] = ()


class _Held(Struct, frozen=True, kw_only=True):
    """The part of a stored Service that is read here."""

    metadata: ObjectMeta = ObjectMeta()
    spec: _Spec | None = None


def address_number(text: str) -> int | None:
    """An IPv4 address as a number; None when it is none (``None``, empty, another family)."""
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError:
        return None


class Claims:
    """The index. Bounded by the sizes of the two ranges plus what was asked for outside of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decoder = msgspec.json.Decoder(_Held)
        self._addresses: dict[int, Key] | None = None
        self._ports: dict[int, Key] = {}

    def _loaded(self) -> dict[int, Key]:
        if self._addresses is None:
            self._addresses = {}
            for document in self._store.page(COLLECTION).items:
                held = self._decoder.decode(document)
                addresses, ports = _numbers(held)
                key = Key(held.metadata.namespace, held.metadata.name)
                self._addresses |= dict.fromkeys(addresses, key)
                self._ports |= dict.fromkeys(ports, key)
        return self._addresses

    def _current(self, key: Key) -> tuple[frozenset[int], frozenset[int]]:
        entry = self._store.newest(COLLECTION, key)
        if entry is None:
            return frozenset(), frozenset()
        return _numbers(self._decoder.decode(entry.data))

    def address_holder(self, number: int) -> Key | None:
        """The Service that has an address now."""
        index = self._loaded()
        key = index.get(number)
        if key is not None and number not in self._current(key)[0]:
            del index[number]
            return None
        return key

    def port_holder(self, number: int) -> Key | None:
        """The Service that has a node port now."""
        self._loaded()
        key = self._ports.get(number)
        if key is not None and number not in self._current(key)[1]:
            del self._ports[number]
            return None
        return key

    def claim(self, key: Key, address: int | None, ports: Iterable[int]) -> None:
        """A Service is about to be written with these numbers."""
        index = self._loaded()
        if address is not None:
            index[address] = key
        self._ports |= dict.fromkeys(ports, key)


def _numbers(held: _Held) -> tuple[frozenset[int], frozenset[int]]:
    if held.spec is None:
        return frozenset(), frozenset()
    address = address_number(held.spec.cluster_ip)
    ports = frozenset(port.node_port for port in held.spec.ports if port.node_port)
    return frozenset(() if address is None else (address,)), ports
