"""Carries out what ``plan_stateful_set`` decides."""

from dataclasses import dataclass

from msgspec.structs import replace

from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import BY_OWNER
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, NotFound, StatusError
from knarr.meta.objects import Key, controller_of
from knarr.resources.apps.controllerrevision import ControllerRevision
from knarr.resources.apps.statefulset import (
    STATEFUL_SET,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetStatus,
)
from knarr.resources.core.persistentvolumeclaim import (
    PERSISTENT_VOLUME_CLAIM,
    PersistentVolumeClaim,
)
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.workloads.batches import Step, in_batches
from knarr.workloads.revisionkeeper import NameTaken, RevisionKeeper
from knarr.workloads.revisions import HASH_LABEL, History, hash_of, template_of
from knarr.workloads.statefulset.plan import (
    Members,
    compute_status,
    members_of,
    plan_stateful_set,
)
from knarr.workloads.statefulset.resources import make_claims, make_pod


@dataclass(frozen=True, slots=True)
class StatefulSetReconciler:
    """Makes, ends and replaces the Pods of a StatefulSet, and makes their claims."""

    client: Client
    sets: Informer[StatefulSet]
    pods: Informer[Pod]
    claims: Informer[PersistentVolumeClaim]
    keeper: RevisionKeeper
    clock: Clock
    recorder: EventRecorder

    async def reconcile(self, key: Key) -> Result:
        """One step; what it writes is in the cache before the next."""
        owner = self.sets.get(key)
        if owner is None or owner.deleting or owner.spec is None:
            return DONE
        status = owner.status or StatefulSetStatus()
        template = owner.spec.template or PodTemplateSpec()
        try:
            history = await self.keeper.record(owner, template, status.collision_count or 0)
        except NameTaken:
            collided = replace(status, collision_count=(status.collision_count or 0) + 1)
            await self._write(owner, collided)
            return DONE
        members = self._members(owner, history)
        plan = plan_stateful_set(owner, members, self.clock.wall())
        steps: list[Step] = [
            self._creation(owner, history, number, updated) for number, updated in plan.create
        ]
        refusals = await in_batches(steps)
        refusals += await in_batches([self._ending(owner, pod) for pod in plan.delete])
        await self._report(owner, history)
        if refusals:
            raise refusals[0]
        return Result(plan.requeue_after_s)

    def _members(self, owner: StatefulSet, history: History) -> Members:
        uid = owner.metadata.uid
        pods = [pod for pod in self.pods.by_index(BY_OWNER, uid) if _controlled_by(pod, uid)]
        return members_of(owner, pods, hash_of(history.current))

    # --- Pods ---------------------------------------------------------------------------------------

    def _creation(self, owner: StatefulSet, history: History, number: int, updated: bool) -> Step:  # noqa: FBT001 - one of the plan's pairs
        revision = history.current if updated else self._current(owner, history)
        return lambda: self._create(owner, revision, number)

    @staticmethod
    def _current(owner: StatefulSet, history: History) -> ControllerRevision:
        """The revision from which the Pods below the partition are made."""
        name = owner.status.current_revision if owner.status else ""
        found = [one for one in history.others if one.metadata.name == name]
        return found[0] if found else history.current

    async def _create(self, owner: StatefulSet, revision: ControllerRevision, number: int) -> None:
        pod = make_pod(owner, template_of(revision), hash_of(revision), number)
        name = pod.metadata.name
        try:
            for claim in make_claims(owner, number):
                await self._ensure_claim(claim)
            made = await self.client.create(POD, pod)
        except StatusError as error:
            text = f"create Pod {name} in StatefulSet {owner.metadata.name} failed error: {error.message}"
            self.recorder.record(owner, "Warning", "FailedCreate", text)
            raise
        self.pods.observe(made)
        text = f"create Pod {name} in StatefulSet {owner.metadata.name} successful"
        self.recorder.record(owner, "Normal", "SuccessfulCreate", text)

    async def _ensure_claim(self, claim: PersistentVolumeClaim) -> None:
        if self.claims.get(claim.key) is not None:
            return
        try:
            self.claims.observe(await self.client.create(PERSISTENT_VOLUME_CLAIM, claim))
        except AlreadyExists:
            return

    def _ending(self, owner: StatefulSet, pod: Pod) -> Step:
        return lambda: self._delete(owner, pod)

    async def _delete(self, owner: StatefulSet, pod: Pod) -> None:
        try:
            left = await self.client.delete(POD, pod.key, uid=pod.metadata.uid)
        except NotFound:
            left = None
        if left is not None and left.deleting:
            self.pods.observe(left)
        else:
            self.pods.forget(pod.key, pod.metadata.uid)
        text = f"delete Pod {pod.metadata.name} in StatefulSet {owner.metadata.name} successful"
        self.recorder.record(owner, "Normal", "SuccessfulDelete", text)

    # --- status -------------------------------------------------------------------------------------

    async def _report(self, owner: StatefulSet, history: History) -> None:
        members = self._members(owner, history)
        name_of = {one.metadata.name: hash_of(one) for one in (*history.others, history.current)}
        current = name_of.get(owner.status.current_revision if owner.status else "", "")
        status = compute_status(
            owner, members, history.current.metadata.name, current, self.clock.wall()
        )
        if status != owner.status:
            await self._write(owner, status)
        hashes = {pod.metadata.label(HASH_LABEL) for pod in members.pods.values()}
        used = frozenset(name for name, digest in name_of.items() if digest in hashes)
        spec = owner.spec or StatefulSetSpec()
        kept = used | {status.current_revision, status.update_revision}
        await self.keeper.prune(history, kept, spec.revision_history_limit)

    async def _write(self, owner: StatefulSet, status: StatefulSetStatus) -> None:
        updated = await self.client.update_status(STATEFUL_SET, replace(owner, status=status))
        self.sets.observe(updated)


def _controlled_by(pod: Pod, uid: str) -> bool:
    controller = controller_of(pod)
    return controller is not None and controller.uid == uid
