"""Keeps the routing labels of Revisions and Configurations, and takes them back when a Route goes."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from knarr.kits.clock import Clock
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, Resource
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route
from knarr.serving import labels
from knarr.serving.labeler.plan import Used, find_used, is_resolved, plan_labels, routes_in
from knarr.serving.writes import Writer

BY_ROUTES = "routes"
"""Name of the indexes of Revisions and Configurations by the Routes in their annotation."""

T = TypeVar("T", bound=Resource)


def route_values(subject: Resource) -> Iterable[str]:
    """Index function of ``BY_ROUTES``."""
    return [label_value(subject.metadata.namespace, name) for name in routes_in(subject)]


@dataclass(frozen=True, slots=True)
class LabelerReconciler:
    """Follows Routes; its finalizer on them is removed when nothing lists the Route any more."""

    writer: Writer
    routes: Informer[Route]
    configurations: Informer[Configuration]
    revisions: Informer[Revision]
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        route = self.routes.get(key)
        if route is None:
            return DONE
        finalizers = route.metadata.finalizers or ()
        held = labels.ROUTE_FINALIZER in finalizers
        if route.deleting:
            if held:
                await self._sync(route, Used(frozenset(), frozenset()), clear=True)
                rest = [name for name in finalizers if name != labels.ROUTE_FINALIZER]
                await self._finalize(route, rest)
            return DONE
        if not held:
            await self._finalize(route, [*finalizers, labels.ROUTE_FINALIZER])
        used = find_used(route, self.configurations.get, self.revisions.get)
        await self._sync(route, used, clear=is_resolved(route))
        return DONE

    async def _finalize(self, route: Route, finalizers: list[str]) -> None:
        patch: dict[str, Any] = {
            "metadata": {
                "finalizers": finalizers or None,
                "resourceVersion": route.metadata.resource_version,
            }
        }
        with contextlib.suppress(NotFound):
            patched = await self.writer.client.patch(self.routes.kind, route.key, patch)
            if finalizers or not route.deleting:
                self.routes.observe(patched)

    async def _sync(self, route: Route, used: Used, *, clear: bool) -> None:
        await self._sync_kind(route, self.revisions, used.revisions, clear=clear)
        await self._sync_kind(route, self.configurations, used.configurations, clear=clear)

    async def _sync_kind(
        self, route: Route, informer: Informer[T], names: frozenset[str], *, clear: bool
    ) -> None:
        meta = route.metadata
        found = (informer.get(Key(meta.namespace, name)) for name in sorted(names))
        value = label_value(meta.namespace, meta.name)
        patches = plan_labels(
            meta.name,
            [item for item in found if item is not None and not item.deleting],
            informer.by_index(BY_ROUTES, value),
            self.clock.wall(),
            clear=clear,
        )
        for item in patches:
            with contextlib.suppress(NotFound):
                patched = await self.writer.client.patch(
                    informer.kind, item.subject.key, item.patch
                )
                informer.observe(patched)
