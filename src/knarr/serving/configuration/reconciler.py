"""Makes a Configuration's Revisions and names the newest ones."""

from dataclasses import dataclass

from knarr.kits.clock import Clock
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, NotFound, StatusError
from knarr.meta.objects import Key, controller_of
from knarr.resources.serving.configuration import Configuration, ConfigurationStatus
from knarr.resources.serving.revision import Revision
from knarr.serving.config import Recorder
from knarr.serving.configuration.plan import (
    ConfigurationPlan,
    find_created,
    find_latest_ready,
    find_named,
)
from knarr.serving.configuration.resources import make_revision
from knarr.serving.writes import Writer

BY_CONFIGURATION = "configuration"
"""Name of the index of Revisions by the Configuration in their label."""


@dataclass(frozen=True, slots=True)
class ConfigurationReconciler:
    """One Revision per generation."""

    writer: Writer
    configurations: Informer[Configuration]
    revisions: Informer[Revision]
    recorder: Recorder
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        configuration = self.configurations.get(key)
        if configuration is None or configuration.deleting:
            return DONE
        plan = ConfigurationPlan(configuration, self.clock.wall())
        await self._revisions(configuration, plan)
        status = plan.status()
        result = await self.writer.write_status(self.configurations, configuration, status)
        self._report(configuration, status)
        return result

    async def _revisions(self, configuration: Configuration, plan: ConfigurationPlan) -> None:
        named = find_named(configuration, self.revisions.get)
        if named is not None and named.conflict:
            plan.creation_failed(f'revisions.serving.knative.dev "{named.name}" already exists')
            return
        owned = self._owned(configuration)
        created = find_created(configuration, named, owned)
        if created is None:
            created = await self._create(configuration, plan)
        latest = find_latest_ready(configuration, created, named, owned)
        before = (configuration.status or ConfigurationStatus()).latest_ready_revision_name
        present = any(item.metadata.name == before for item in owned)
        plan.follow(created, latest, present=present)

    def _owned(self, configuration: Configuration) -> tuple[Revision, ...]:
        value = label_value(configuration.metadata.namespace, configuration.metadata.name)
        return tuple(
            item for item in self.revisions.by_index(BY_CONFIGURATION, value) if not item.deleting
        )

    async def _create(self, configuration: Configuration, plan: ConfigurationPlan) -> Revision:
        desired = make_revision(configuration, self.clock.wall())
        try:
            created = await self.writer.client.create(self.revisions.kind, desired)
        except AlreadyExists as error:
            # Mostly the cache is behind, and the next pass finds what is ours.
            if await self._is_foreign(desired.key, configuration):
                plan.creation_failed(error.message)
                await self.writer.write_status(self.configurations, configuration, plan.status())
            raise
        except StatusError as error:
            plan.creation_failed(error.message)
            await self.writer.write_status(self.configurations, configuration, plan.status())
            text = f"Failed to create Revision: {error.message}"
            self.recorder.record(configuration, "Warning", "CreationFailed", text)
            raise
        self.revisions.observe(created)
        text = f'Created Revision "{created.metadata.name}"'
        self.recorder.record(configuration, "Normal", "Created", text)
        return created

    async def _is_foreign(self, key: Key, configuration: Configuration) -> bool:
        try:
            found = await self.writer.client.get(self.revisions.kind, key)
        except NotFound:
            return False
        controller = controller_of(found)
        return controller is None or controller.uid != configuration.metadata.uid

    def _report(self, configuration: Configuration, status: ConfigurationStatus) -> None:
        before = (configuration.status or ConfigurationStatus()).latest_ready_revision_name
        after = status.latest_ready_revision_name
        if after == before:
            return
        if not before:
            text = "Configuration becomes ready"
            self.recorder.record(configuration, "Normal", "ConfigurationReady", text)
        text = f'LatestReadyRevisionName updated to "{after}"'
        self.recorder.record(configuration, "Normal", "LatestReadyUpdate", text)
