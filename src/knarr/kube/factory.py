"""One informer per thing that is followed, however many controllers read it."""

import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from knarr.kits.clock import Clock
from knarr.kits.tasks import TaskScope
from knarr.kube.client import Client
from knarr.kube.informer import Informer
from knarr.meta.objects import Resource
from knarr.resources.kind import Kind

T = TypeVar("T", bound=Resource)


class InformerFactory:
    """Owns the informers of a process; an async context manager, entered = all are synced.

    Informers may be asked for before (the usual way: handlers then see every object) and after.
    """

    def __init__(self, client: Client, *, clock: Clock, rng: random.Random) -> None:
        self.client = client
        self._clock = clock
        self._rng = rng
        self._informers: dict[tuple[str, ...], Informer[Any]] = {}
        self._stops: dict[Informer[Any], Callable[[], None]] = {}
        self._scope: TaskScope | None = None

    def informer(
        self,
        kind: Kind[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        keep: Callable[[T], T] | None = None,
    ) -> Informer[T]:
        """The informer of a selection; the same selection gives the same informer.

        One that is made after the factory was entered starts at once and is not synced yet. ``keep``
        counts when it is made (see ``Informer``).
        """
        selection = (
            kind.group,
            kind.version,
            kind.plural,
            namespace,
            label_selector,
            field_selector,
        )
        informer = self._informers.get(selection)
        if informer is None:
            informer = self._informers[selection] = Informer(
                kind,
                self.client,
                clock=self._clock,
                rng=self._rng,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                keep=keep,
            )
            self._start(informer)
        return informer

    def _start(self, informer: Informer[Any]) -> None:
        if self._scope is not None:
            name = f"informer-{informer.kind.qualified_plural}"
            self._stops[informer] = self._scope.start_stoppable(informer.run(), name=name)

    def drop(self, informer: Informer[Any]) -> None:
        """Stop an informer and forget it; its kind is not offered any more."""
        for selection, known in tuple(self._informers.items()):
            if known is informer:
                del self._informers[selection]
        stop = self._stops.pop(informer, None)
        if stop is not None:
            stop()

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All informers, for metrics."""
        return tuple(self._informers.values())

    async def wait_synced(self) -> None:
        """Return when every informer's cache is complete."""
        for informer in self.informers:
            await informer.wait_synced()

    async def __aenter__(self) -> "InformerFactory":
        scope = TaskScope()
        await scope.__aenter__()
        self._scope = scope
        try:
            for informer in self.informers:
                self._start(informer)
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
