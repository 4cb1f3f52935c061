"""Carries out what ``plan_job`` decides."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.kits.clock import Clock
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import Add, enqueue_self, label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound, StatusError
from knarr.meta.objects import Key, Resource
from knarr.resources.batch.job import JOB
from knarr.resources.batch.jobspec import Job, JobStatus, UncountedPods
from knarr.resources.core.pod import POD, Pod
from knarr.workloads.batches import Step, in_batches
from knarr.workloads.conditions import find
from knarr.workloads.job.plan import Plan, plan_job
from knarr.workloads.job.resources import make_pod
from knarr.workloads.job.status import compute_status, counted
from knarr.workloads.job.tracking import (
    TRACKING_FINALIZER,
    Tally,
    belongs_to,
    is_tracked,
    job_names,
    tally_of,
)

BY_JOB = "job"
_LARGEST_STEP = 500
"""Pods made in one pass; the status tells of them before the next ones are made."""


def job_keys(subject: Resource) -> Iterable[str]:
    """Index function: the Job that a Pod concerns, see ``job_names``."""
    names = job_names(subject) if isinstance(subject, Pod) else ()
    return [label_value(subject.metadata.namespace, name) for name in names]


@dataclass(frozen=True, slots=True)
class JobReconciler:
    """Makes, counts and ends the Pods of Jobs, and deletes Jobs whose time to live is over."""

    client: Client
    jobs: Informer[Job]
    pods: Informer[Pod]
    clock: Clock
    recorder: EventRecorder

    def watch(self, add: Add) -> None:
        """Follow Jobs and their Pods."""
        self.pods.add_index(BY_JOB, job_keys)

        def pod_changed(change: Change[Any]) -> None:
            sides = [pod for pod in (change.old, change.new) if pod is not None]
            for name in {name for pod in sides for name in job_names(pod)}:
                add(Key(change.key.namespace, name))

        self.jobs.add_handler(enqueue_self(add))
        self.pods.add_handler(pod_changed)

    async def reconcile(self, key: Key) -> Result:
        """One step; what it writes is in the cache before the next."""
        job = self.jobs.get(key)
        live = job if job is not None and not job.deleting else None
        await self._untrack(self._strangers(key, live))
        if live is None or live.spec is None:
            return DONE
        job, tally = await self._count(live)
        plan = plan_job(job, tally, self._owned(job), self.clock.wall())
        error = await self._act(job, plan)
        await self._report(job, plan)
        if error is not None:
            raise error
        if plan.expired:
            await self._delete_job(job)
        return Result(plan.requeue_after_s)

    def _related(self, key: Key) -> tuple[Pod, ...]:
        return self.pods.by_index(BY_JOB, label_value(key.namespace, key.name))

    def _owned(self, job: Job) -> tuple[Pod, ...]:
        return tuple(pod for pod in self._related(job.key) if belongs_to(pod, job))

    def _strangers(self, key: Key, live: Job | None) -> list[Pod]:
        """Pods that wait to be counted by a Job that is no more."""
        return [
            pod
            for pod in self._related(key)
            if is_tracked(pod) and (live is None or not belongs_to(pod, live))
        ]

    async def _count(self, job: Job) -> tuple[Job, Tally]:
        """Write down who ended, take their finalizers off, count them (see ``tracking``)."""
        tally = tally_of(job, self._owned(job))
        if not tally.untrack:
            return job, tally
        status = job.status or JobStatus()
        if tally.uncounted != (status.uncounted_terminated_pods or UncountedPods()):
            job = await self._write_status(job, counted(job, tally, self.clock.wall()))
        await self._untrack(tally.untrack)
        return job, tally_of(job, self._owned(job))

    async def _act(self, job: Job, plan: Plan) -> StatusError | None:
        """Make and end Pods; the first refusal is returned, the rest is done all the same."""
        numbers: Sequence[int | None] = plan.indexes or [None] * plan.create
        creations = [self._creation(job, number) for number in numbers[:_LARGEST_STEP]]
        refusals = await in_batches(creations)
        dropped = [_bind(self._drop, job, pod) for pod in plan.drop]
        refusals += await in_batches(dropped)
        refusals += await in_batches([_bind(self._delete, job, pod) for pod in plan.end])
        return refusals[0] if refusals else None

    def _creation(self, job: Job, index: int | None) -> Step:
        return lambda: self._create(job, index)

    async def _create(self, job: Job, index: int | None) -> None:
        try:
            pod = await self.client.create(POD, make_pod(job, index))
        except StatusError as error:
            text = f"Error creating: {error.message}"
            self.recorder.record(job, "Warning", "FailedCreate", text)
            raise
        self.pods.observe(pod)
        text = f"Created pod: {pod.metadata.name}"
        self.recorder.record(job, "Normal", "SuccessfulCreate", text)

    async def _drop(self, job: Job, pod: Pod) -> None:
        await self._take_finalizer(pod)
        await self._delete(job, pod)

    async def _delete(self, job: Job, pod: Pod) -> None:
        try:
            left = await self.client.delete(POD, pod.key, uid=pod.metadata.uid)
        except NotFound:
            left = None
        if left is not None and left.deleting:
            self.pods.observe(left)
        else:
            self.pods.forget(pod.key, pod.metadata.uid)
        text = f"Deleted pod: {pod.metadata.name}"
        self.recorder.record(job, "Normal", "SuccessfulDelete", text)

    async def _untrack(self, pods: Iterable[Pod]) -> None:
        refusals = await in_batches([_bound(self._take_finalizer, pod) for pod in pods])
        if refusals:
            raise refusals[0]

    async def _take_finalizer(self, pod: Pod) -> None:
        if not is_tracked(pod):
            return
        left = [name for name in pod.metadata.finalizers or () if name != TRACKING_FINALIZER]
        patch = {
            "metadata": {
                "resourceVersion": pod.metadata.resource_version,
                "finalizers": left or None,
            }
        }
        try:
            freed = await self.client.patch(POD, pod.key, patch)
        except NotFound:
            self.pods.forget(pod.key, pod.metadata.uid)
            return
        if freed.deleting and not left and not freed.metadata.deletion_grace_period_seconds:
            self.pods.forget(pod.key, pod.metadata.uid)
        else:
            self.pods.observe(freed)

    async def _write_status(self, job: Job, status: JobStatus) -> Job:
        written = await self.client.update_status(JOB, msgspec.structs.replace(job, status=status))
        self.jobs.observe(written)
        return written

    async def _report(self, job: Job, plan: Plan) -> None:
        pods = self._owned(job)
        status = compute_status(job, tally_of(job, pods), pods, plan.verdict, self.clock.wall())
        if status != (job.status or JobStatus()):
            written = await self._write_status(job, status)
            self._announce(job, written)

    def _announce(self, before: Job, after: Job) -> None:
        """Tell of conditions that changed."""
        old = before.status.conditions if before.status else ()
        for item in after.status.conditions if after.status else ():
            known = find(old, item.type)
            if known is not None and known.status == item.status:
                continue
            match item.type, item.status:
                case ("Complete", "True"):
                    self.recorder.record(after, "Normal", "Completed", "Job completed")
                case ("Failed", "True"):
                    self.recorder.record(after, "Warning", item.reason, item.message)
                case ("Suspended", "True"):
                    self.recorder.record(after, "Normal", "Suspended", item.message)
                case ("Suspended", _):
                    self.recorder.record(after, "Normal", "Resumed", item.message)
                case _:
                    continue

    async def _delete_job(self, job: Job) -> None:
        uid = job.metadata.uid
        try:
            left = await self.client.delete(JOB, job.key, uid=uid, propagation="Background")
        except NotFound:
            left = None
        if left is not None and left.deleting:
            self.jobs.observe(left)
        else:
            self.jobs.forget(job.key, uid)


def _bind(act: Callable[[Job, Pod], Awaitable[None]], job: Job, pod: Pod) -> Step:
    return lambda: act(job, pod)


def _bound(act: Callable[[Pod], Awaitable[None]], pod: Pod) -> Step:
    return lambda: act(pod)
