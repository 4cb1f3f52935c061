"""Keeps ``status.used`` of ResourceQuotas.

The status is for people: admission counts for itself. Changes of counted objects come in bursts, so a quota
is counted at most once per 0.2 s.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from knarr.kits.clock import Clock
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add, enqueue_self
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.core.resourcequota import (
    RESOURCE_QUOTA,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceQuotaStatus,
)
from knarr.resources.quota.amounts import written
from knarr.resources.quota.usage import collections_of, usage_of, used_by

_INTERVAL_S, _TICK_S = 0.2, 0.001


class QuotaReconciler:
    """Counts what a quota limits.

    Args:
        client: for writing.
        quotas: informer.
        counted: informers of every namespaced kind, by qualified plural.
        clock: for the interval between two counts.
    """

    def __init__(
        self,
        client: Client,
        quotas: Informer[ResourceQuota],
        counted: Mapping[str, Informer[Any]],
        clock: Clock,
    ) -> None:
        self._client = client
        self._quotas = quotas
        self._counted = counted
        self._clock = clock
        self._last: dict[Key, float] = {}

    def watch(self, add: Add) -> None:
        """Follow quotas and what they count."""
        self._quotas.add_handler(enqueue_self(add))
        for collection, informer in self._counted.items():
            informer.add_handler(self._handler(collection, add))

    def _handler(self, collection: str, add: Add) -> Any:
        def changed(change: Change[Any]) -> None:
            if not self._quotas.list(change.key.namespace):
                return
            if _same_usage(collection, change):
                return
            for quota in self._quotas.list(change.key.namespace):
                if quota.spec and collection in collections_of(quota.spec.hard or {}):
                    add(quota.key)

        return changed

    async def reconcile(self, key: Key) -> Result:
        """Count for one quota."""
        quota = self._quotas.get(key)
        if quota is None:
            self._last.pop(key, None)
            return DONE
        now = self._clock.monotonic()
        wait_s = self._last.get(key, now - _INTERVAL_S) + _INTERVAL_S - now
        if wait_s > _TICK_S:
            return Result(requeue_after_s=wait_s)
        self._last[key] = now
        spec = quota.spec or ResourceQuotaSpec()
        hard = spec.hard or {}
        used = used_by(spec, self._objects(collections_of(hard), key.namespace))
        status = ResourceQuotaStatus(hard=hard, used=written(used))
        if status != (quota.status or ResourceQuotaStatus()):
            try:
                updated = await self._client.update_status(
                    RESOURCE_QUOTA, replace(quota, status=status)
                )
            except NotFound:
                return DONE
            self._quotas.observe(updated)
        return DONE

    def _objects(self, collections: Iterable[str], namespace: str) -> Iterator[tuple[str, Any]]:
        for collection in sorted(collections):
            informer = self._counted.get(collection)
            for subject in informer.list(namespace) if informer is not None else ():
                yield collection, subject


def _same_usage(collection: str, change: Change[Any]) -> bool:
    """Whether a change leaves what an object takes as it is."""
    if change.old is None or change.new is None:
        return False
    return usage_of(collection, change.old) == usage_of(collection, change.new)
