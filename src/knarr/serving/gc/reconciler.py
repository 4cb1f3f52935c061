"""Deletes a Configuration's Revisions that are old and not used."""

import contextlib
from dataclasses import dataclass

from knarr.kits.clock import Clock
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.serving.config import ConfigStore
from knarr.serving.configuration.reconciler import BY_CONFIGURATION
from knarr.serving.gc.plan import plan_collection
from knarr.serving.writes import Writer


@dataclass(frozen=True, slots=True)
class RevisionCollector:
    """Looks again when the next Revision grows old."""

    writer: Writer
    configurations: Informer[Configuration]
    revisions: Informer[Revision]
    config: ConfigStore
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        configuration = self.configurations.get(key)
        if configuration is None or configuration.deleting:
            return DONE
        owned = self.revisions.by_index(BY_CONFIGURATION, label_value(key.namespace, key.name))
        plan = plan_collection(self.config.current.gc, configuration, owned, self.clock.wall())
        for revision in plan.revisions:
            uid = revision.metadata.uid
            with contextlib.suppress(NotFound):
                await self.writer.client.delete(self.revisions.kind, revision.key, uid=uid)
        return Result(requeue_after_s=plan.again_in_s)
