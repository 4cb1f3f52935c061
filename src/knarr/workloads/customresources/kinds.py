"""Informers of the kinds that users define: they come and go with the definitions."""

from collections.abc import Callable, Iterable
from typing import Any

from knarr.kube.cache import Change
from knarr.kube.factory import InformerFactory
from knarr.kube.informer import Informer
from knarr.meta.objects import Resource
from knarr.resources.kind import Kind
from knarr.workloads.customresources.definition import (
    DEFINITION,
    Definition,
    kind_of,
    slim,
    wanted_kinds,
)

Told = Callable[[Informer[Any]], None]


class CustomKinds:
    """One informer per custom kind, of metadata alone.

    A kind is left when its definition is gone: while one is being deleted its objects still end.

    Args:
        informers: not entered yet.
        known: kinds that are followed anyway, be there a definition for them or not.
    """

    def __init__(self, informers: InformerFactory, known: Iterable[Kind[Any]]) -> None:
        self.definitions: Informer[Definition] = informers.informer(DEFINITION, keep=slim)
        self._informers = informers
        self._known = tuple(known)
        self._followed: dict[str, Informer[Resource]] = {}
        self._added: list[Told] = []
        self._removed: list[Told] = []
        self.definitions.add_handler(self._changed)

    @property
    def informers(self) -> tuple[Informer[Resource], ...]:
        """Those of the kinds that there are now; a new one is not synced yet."""
        return tuple(self._followed.values())

    def add_handler(self, added: Told, removed: Told) -> None:
        """Be told of each kind that comes, before its objects, and that goes, before it is cleared."""
        self._added.append(added)
        self._removed.append(removed)

    def _changed(self, change: Change[Definition]) -> None:
        name = change.key.name
        definition = change.new
        if definition is None:
            self._leave(name)
            return
        wanted = wanted_kinds((definition,), self._known).get(name)
        followed = self._followed.get(name)
        if wanted is None:
            if kind_of(definition) is None and not definition.deleting:
                self._leave(name)
        elif followed is None:
            self._follow(name, wanted)
        elif followed.kind != wanted:
            self._leave(name)
            self._follow(name, wanted)

    def _follow(self, name: str, kind: Kind[Resource]) -> None:
        informer = self._informers.informer(kind, keep=slim)
        self._followed[name] = informer
        for told in self._added:
            told(informer)

    def _leave(self, name: str) -> None:
        informer = self._followed.pop(name, None)
        if informer is None:
            return
        self._informers.drop(informer)
        for told in self._removed:
            told(informer)
