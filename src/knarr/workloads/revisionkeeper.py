"""Writes ControllerRevisions."""

from contextlib import suppress
from dataclasses import dataclass

from knarr.kube.client import Client
from knarr.kube.handlers import BY_OWNER
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, Conflict, NotFound
from knarr.meta.objects import Resource, controller_of
from knarr.resources.apps.controllerrevision import CONTROLLER_REVISION, ControllerRevision
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.workloads.revisions import History, plan_history, surplus


class NameTaken(Exception):
    """The name of a new revision belongs to something else."""


@dataclass(frozen=True, slots=True)
class RevisionKeeper:
    """Keeps the history of StatefulSets and DaemonSets."""

    client: Client
    revisions: Informer[ControllerRevision]

    def of(self, owner: Resource) -> tuple[ControllerRevision, ...]:
        """The revisions that an object controls."""
        uid = owner.metadata.uid
        return tuple(
            one
            for one in self.revisions.by_index(BY_OWNER, uid)
            if not one.deleting and _controlled_by(one, uid)
        )

    async def record(self, owner: Resource, template: PodTemplateSpec, collisions: int) -> History:
        """Make the revision of the template exist, with the highest number.

        Raises:
            NameTaken: count one collision more and come again.
            StatusError: a request failed.
        """
        history = plan_history(owner, template, self.of(owner), collisions)
        if history.create:
            created = await self._create(owner, history)
            return History(created, create=False, renumber=False, others=history.others)
        if history.renumber:
            written = await self.client.update(CONTROLLER_REVISION, history.current)
            self.revisions.observe(written)
            return History(written, create=False, renumber=False, others=history.others)
        return history

    async def _create(self, owner: Resource, history: History) -> ControllerRevision:
        try:
            created = await self.client.create(CONTROLLER_REVISION, history.current)
        except AlreadyExists as error:
            found = await self.client.get(CONTROLLER_REVISION, history.current.key)
            if not _controlled_by(found, owner.metadata.uid):
                raise NameTaken from error
            self.revisions.observe(found)
            if found.data == history.current.data:
                raise Conflict(error.message) from error
            raise NameTaken from error
        self.revisions.observe(created)
        return created

    async def prune(self, history: History, used: frozenset[str], limit: int | None) -> None:
        """Delete old revisions beyond the limit."""
        for one in surplus(history, used, limit):
            with suppress(NotFound):
                await self.client.delete(CONTROLLER_REVISION, one.key, uid=one.metadata.uid)
            self.revisions.forget(one.key, one.metadata.uid)


def _controlled_by(revision: ControllerRevision, uid: str) -> bool:
    controller = controller_of(revision)
    return controller is not None and controller.uid == uid
