"""Carries out what ``plan_replica_set`` decides."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from knarr.kits.clock import Clock, format_timestamp
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import BY_OWNER
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound, StatusError
from knarr.meta.objects import Key, controller_of
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet, ReplicaSetStatus
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.references import Condition
from knarr.workloads.adoption import Adoption
from knarr.workloads.batches import Step, in_batches
from knarr.workloads.replicaset.plan import Plan, compute_status, matcher_of, plan_replica_set
from knarr.workloads.replicaset.resources import make_pod


@dataclass(frozen=True, slots=True)
class ReplicaSetReconciler:
    """Makes and ends the Pods of a ReplicaSet and counts them."""

    client: Client
    replica_sets: Informer[ReplicaSet]
    pods: Informer[Pod]
    clock: Clock
    recorder: EventRecorder

    async def reconcile(self, key: Key) -> Result:
        """One step; what it writes is in the cache before the next."""
        replica_set = self.replica_sets.get(key)
        if replica_set is None or replica_set.deleting:
            return DONE
        selector = replica_set.spec.selector if replica_set.spec else None
        if selector is not None:
            await self._adoption.adopt(replica_set, matcher_of(selector))
        plan = plan_replica_set(replica_set, self._owned(replica_set), self.clock.wall())
        error = await self._act(replica_set, plan)
        await self._report(replica_set, plan, error)
        if error is not None:
            raise error
        return Result(plan.requeue_after_s)

    @property
    def _adoption(self) -> Adoption[Pod]:
        return Adoption(self.client, REPLICA_SET, self.pods)

    def _owned(self, replica_set: ReplicaSet) -> tuple[Pod, ...]:
        uid = replica_set.metadata.uid
        return tuple(pod for pod in self.pods.by_index(BY_OWNER, uid) if _controlled_by(pod, uid))

    async def _act(self, replica_set: ReplicaSet, plan: Plan) -> StatusError | None:
        """Make, end and release Pods; the first refusal is returned, the rest is done all the same."""
        refusals = await in_batches([lambda: self._create(replica_set) for _ in range(plan.create)])
        refusals += await in_batches([_bind(self._delete, replica_set, pod) for pod in plan.delete])
        refusals += await in_batches(
            [_bind(self._release, replica_set, pod) for pod in plan.release]
        )
        return refusals[0] if refusals else None

    async def _create(self, replica_set: ReplicaSet) -> None:
        try:
            pod = await self.client.create(POD, make_pod(replica_set))
        except StatusError as error:
            self.recorder.record(
                replica_set, "Warning", "FailedCreate", f"Error creating: {error.message}"
            )
            raise
        self.pods.observe(pod)
        name = pod.metadata.name
        self.recorder.record(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")

    async def _delete(self, replica_set: ReplicaSet, pod: Pod) -> None:
        try:
            left = await self.client.delete(POD, pod.key, uid=pod.metadata.uid)
        except NotFound:
            left = None
        if left is not None and left.deleting:
            self.pods.observe(left)
        else:
            self.pods.forget(pod.key, pod.metadata.uid)
        name = pod.metadata.name
        self.recorder.record(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")

    async def _release(self, replica_set: ReplicaSet, pod: Pod) -> None:
        await self._adoption.release(replica_set, pod)

    async def _report(self, replica_set: ReplicaSet, plan: Plan, error: StatusError | None) -> None:
        now = self.clock.wall()
        failure = None
        if error is not None:
            failure = Condition(
                type="ReplicaFailure",
                status="True",
                reason="FailedCreate" if plan.create else "FailedDelete",
                message=error.message,
                last_transition_time=format_timestamp(now),
            )
        status = compute_status(replica_set, self._owned(replica_set), now, failure)
        if status != (replica_set.status or ReplicaSetStatus()):
            updated = msgspec.structs.replace(replica_set, status=status)
            self.replica_sets.observe(await self.client.update_status(REPLICA_SET, updated))


def _controlled_by(pod: Pod, uid: str) -> bool:
    controller = controller_of(pod)
    return controller is not None and controller.uid == uid


def _bind(
    act: Callable[[ReplicaSet, Pod], Awaitable[None]], replica_set: ReplicaSet, pod: Pod
) -> Step:
    return lambda: act(replica_set, pod)
