"""Carries out what ``plan_daemon_set`` decides."""

from dataclasses import dataclass

from msgspec.structs import replace

from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import BY_OWNER
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound, StatusError
from knarr.meta.objects import Key, controller_of
from knarr.resources.apps.daemonset import DAEMON_SET, DaemonSet, DaemonSetSpec, DaemonSetStatus
from knarr.resources.core.node import Node
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.workloads.batches import Step, in_batches
from knarr.workloads.daemonset.plan import Plan, make_pod, plan_daemon_set
from knarr.workloads.revisionkeeper import NameTaken, RevisionKeeper
from knarr.workloads.revisions import HASH_LABEL, History, hash_of


@dataclass(frozen=True, slots=True)
class DaemonSetReconciler:
    """Makes, ends and replaces the Pods of a DaemonSet."""

    client: Client
    sets: Informer[DaemonSet]
    pods: Informer[Pod]
    nodes: Informer[Node]
    keeper: RevisionKeeper
    clock: Clock
    recorder: EventRecorder

    async def reconcile(self, key: Key) -> Result:
        """One step; what it writes is in the cache before the next."""
        owner = self.sets.get(key)
        if owner is None or owner.deleting or owner.spec is None:
            return DONE
        status = owner.status or DaemonSetStatus()
        template = owner.spec.template or PodTemplateSpec()
        try:
            history = await self.keeper.record(owner, template, status.collision_count or 0)
        except NameTaken:
            collided = replace(status, collision_count=(status.collision_count or 0) + 1)
            await self._write(owner, collided)
            return DONE
        plan = self._plan(owner, history)
        digest = hash_of(history.current)
        refusals = await in_batches([self._creation(owner, digest, node) for node in plan.create])
        refusals += await in_batches([self._ending(owner, pod) for pod in plan.delete])
        await self._report(owner, history)
        if refusals:
            raise refusals[0]
        return Result(plan.requeue_after_s)

    def _plan(self, owner: DaemonSet, history: History) -> Plan:
        return plan_daemon_set(
            owner,
            self.nodes.list(),
            self._owned(owner),
            hash_of(history.current),
            self.clock.wall(),
        )

    def _owned(self, owner: DaemonSet) -> list[Pod]:
        uid = owner.metadata.uid
        return [pod for pod in self.pods.by_index(BY_OWNER, uid) if _controlled_by(pod, uid)]

    def _creation(self, owner: DaemonSet, digest: str, node: str) -> Step:
        return lambda: self._create(owner, digest, node)

    async def _create(self, owner: DaemonSet, digest: str, node: str) -> None:
        try:
            made = await self.client.create(POD, make_pod(owner, digest, node))
        except StatusError as error:
            text = f"Error creating: {error.message}"
            self.recorder.record(owner, "Warning", "FailedCreate", text)
            raise
        self.pods.observe(made)
        text = f"Created pod: {made.metadata.name}"
        self.recorder.record(owner, "Normal", "SuccessfulCreate", text)

    def _ending(self, owner: DaemonSet, pod: Pod) -> Step:
        return lambda: self._delete(owner, pod)

    async def _delete(self, owner: DaemonSet, pod: Pod) -> None:
        try:
            left = await self.client.delete(POD, pod.key, uid=pod.metadata.uid)
        except NotFound:
            left = None
        if left is not None and left.deleting:
            self.pods.observe(left)
        else:
            self.pods.forget(pod.key, pod.metadata.uid)
        text = f"Deleted pod: {pod.metadata.name}"
        self.recorder.record(owner, "Normal", "SuccessfulDelete", text)

    async def _report(self, owner: DaemonSet, history: History) -> None:
        status = self._plan(owner, history).status
        if status != owner.status:
            await self._write(owner, status)
        hashes = {pod.metadata.label(HASH_LABEL) for pod in self._owned(owner)}
        used = frozenset(one.metadata.name for one in history.others if hash_of(one) in hashes)
        spec = owner.spec or DaemonSetSpec()
        await self.keeper.prune(history, used, spec.revision_history_limit)

    async def _write(self, owner: DaemonSet, status: DaemonSetStatus) -> None:
        self.sets.observe(
            await self.client.update_status(DAEMON_SET, replace(owner, status=status))
        )


def _controlled_by(pod: Pod, uid: str) -> bool:
    controller = controller_of(pod)
    return controller is not None and controller.uid == uid
