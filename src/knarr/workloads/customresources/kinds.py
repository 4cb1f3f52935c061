"""Informers of the kinds that users define: they come and go with the definitions."""

from collections.abc import Callable, Iterable
from typing import Any

from knarr.kube.cache import Change
from knarr.kube.factory import InformerFactory
from knarr.kube.informer import Informer
from knarr.meta.objects import Resource
from knarr.resources.kind import Kind
from knarr.workloads.customresources.definition import DEFINITION, Definition, kind_of, slim

Come = Callable[[Informer[Any]], None]
Go = Callable[[Informer[Any]], None]


class CustomKinds:
    """One informer per custom kind, of metadata alone.

    Args:
        informers: not entered yet.
        known: kinds that are followed anyway, be there a definition for them or not.
    """

    def __init__(self, informers: InformerFactory, known: Iterable[Kind[Any]]) -> None:
        self.definitions: Informer[Definition] = informers.informer(DEFINITION, keep=slim)
        self._informers = informers
        self._known = frozenset(kind.qualified_plural for kind in known)
        self._followed: dict[str, Informer[Resource]] = {}
        self._handlers: list[tuple[Come, Go]] = []
        self.definitions.add_handler(self._changed)

    @property
    def informers(self) -> tuple[Informer[Resource], ...]:
        """Those of the kinds that there are now; a new one is not synced yet."""
        return tuple(self._followed.values())

    def add_handler(self, come: Come, go: Go) -> None:
        """Be told of each kind that comes, and that goes.

        ``come`` is called before the informer has any object. ``go`` is called when nothing more will
        come from the informer; before that, objects that went with their definition were reported as
        deleted. Objects of a kind that is merely not served any more, or served in another version, were
        not: they are still there.
        """
        self._handlers.append((come, go))

    def _changed(self, change: Change[Definition]) -> None:
        name = change.key.name
        definition = change.new
        if name in self._known:
            return
        if definition is None:
            self._leave(name, gone=True)
            return
        wanted, followed = kind_of(definition), self._followed.get(name)
        if definition.deleting and wanted is None:
            # its objects are deleted all the same, and the definition waits for them
            return
        if followed is not None and followed.kind != wanted:
            self._leave(name, gone=False)
            followed = None
        if followed is None and wanted is not None:
            self._follow(name, wanted)

    def _follow(self, name: str, kind: Kind[Resource]) -> None:
        informer = self._followed[name] = self._informers.informer(kind, keep=slim)
        for come, _ in self._handlers:
            come(informer)

    def _leave(self, name: str, *, gone: bool) -> None:
        informer = self._followed.pop(name, None)
        if informer is None:
            return
        self._informers.drop(informer)
        if gone:
            informer.clear()
        for _, go in self._handlers:
            go(informer)
