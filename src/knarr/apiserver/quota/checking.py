"""Refuses what a ResourceQuota does not allow.

What is used is counted from the store at the moment of the check, writes that are on their way included;
so two writes at once cannot both take the last piece, and the quota's status is for people only.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from knarr.apiserver.quota.objects import NamespaceObjects
from knarr.apiserver.served import Served
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.resources.core.pod import Pod
from knarr.resources.core.resourcequota import (
    RESOURCE_QUOTA,
    ResourceQuota,
    ResourceQuotaSpec,
)
from knarr.resources.core.service import Service
from knarr.resources.quota.amounts import Amounts
from knarr.resources.quota.usage import refusal, used_by
from knarr.store.store import Store

_MODELS: Mapping[str, type] = {
    "pods": Pod,
    "services": Service,
    "persistentvolumeclaims": PersistentVolumeClaim,
}


class QuotaChecker:
    """``admission.Quota`` over the store.

    Args:
        store: with the quotas and everything that they count.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._quotas = NamespaceObjects(store, RESOURCE_QUOTA)
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            name: msgspec.json.Decoder(model) for name, model in _MODELS.items()
        }

    def check(self, served: Served, subject: Any, old: Any | None) -> None:
        """Count an object in.

        Between this check and the write there must be no ``await``.

        Raises:
            Forbidden: a quota would be exceeded.
        """
        metadata = subject.metadata
        quotas = self._quotas.of(metadata.namespace) if metadata.namespace else ()
        if not quotas or metadata.deletion_timestamp is not None:
            return
        collection = served.collection
        text = refusal(
            quotas, collection, subject, old, lambda quota: self._used(quota, collection)
        )
        if text is not None:
            raise served.forbidden(metadata.name or metadata.generate_name, text)

    def _used(self, quota: ResourceQuota, collection: str) -> Amounts:
        spec = quota.spec or ResourceQuotaSpec()
        return used_by(spec, self._objects(collection, quota.metadata.namespace))

    def _objects(self, collection: str, namespace: str) -> Iterator[tuple[str, Any]]:
        decoder = self._decoders.get(collection)
        for document in self._store.newest_within(collection, namespace):
            yield collection, decoder.decode(document) if decoder is not None else None
