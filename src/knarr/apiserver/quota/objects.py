"""Typed objects of a namespace out of the store, decoded again only when one of them changed."""

from collections import OrderedDict
from typing import Generic, TypeVar

import msgspec

from knarr.meta.objects import Resource
from knarr.resources.kind import Kind
from knarr.store.store import Store

T = TypeVar("T", bound=Resource)
_NAMESPACES_KEPT = 256


class NamespaceObjects(Generic[T]):
    """The objects of one kind by namespace; the last 256 namespaces that were asked for are kept."""

    def __init__(self, store: Store, kind: Kind[T]) -> None:
        self._store = store
        self._collection = kind.qualified_plural
        self._decoder = msgspec.json.Decoder(kind.model)
        self._rv = -1
        self._known: OrderedDict[str, tuple[T, ...]] = OrderedDict()

    def of(self, namespace: str) -> tuple[T, ...]:
        """The visible objects of a namespace, by name; of all kinds without namespaces when empty."""
        rv = self._store.changed_rv(self._collection)
        if rv != self._rv:
            self._known.clear()
            self._rv = rv
        found = self._known.get(namespace)
        if found is None:
            page = self._store.page(self._collection, namespace=namespace)
            found = tuple(self._decoder.decode(item) for item in page.items)
            self._known[namespace] = found
            if len(self._known) > _NAMESPACES_KEPT:
                self._known.popitem(last=False)
        return found
