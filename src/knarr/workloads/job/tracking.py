"""Counts each Pod of a Job once, whatever happens to the Pod object; pure.

As in Kubernetes every Pod carries a finalizer. When it ended, its uid is first written into the Job's
status, then the finalizer goes, then the uid becomes one more in a counter. A crash between two of these
steps neither loses nor doubles a Pod: the uid is counted when no Pod with that uid has the finalizer any
more. The writes reach the disk in this order, because one commit never overtakes another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from knarr.meta.objects import controller_of
from knarr.resources.batch.jobspec import JOB_NAME_LABEL, Job, JobStatus, UncountedPods
from knarr.resources.core.pod import Pod
from knarr.workloads.job.failurepolicy import judge_failure
from knarr.workloads.job.indexes import index_of, is_indexed, parse_indexes
from knarr.workloads.pods import phase_of

TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"

Fate = Literal["succeeded", "failed", ""]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a Job's Pods.

    Attributes:
        succeeded, failed: counted for good.
        uncounted: ended; about to be counted.
        untrack: Pods whose finalizer is to go once ``uncounted`` is stored.
        indexes: of an Indexed Job, the numbers that succeeded, counted or about to be; otherwise None.
        failure: why the Job fails at once by its ``podFailurePolicy``; empty while it does not.
    """

    succeeded: int
    failed: int
    uncounted: UncountedPods
    untrack: tuple[Pod, ...]
    indexes: frozenset[int] | None = None
    failure: str = ""

    @property
    def all_succeeded(self) -> int:
        """Pods that succeeded, counted or about to be; of an Indexed Job each number once."""
        if self.indexes is not None:
            return len(self.indexes)
        return self.succeeded + len(self.uncounted.succeeded)

    @property
    def all_failed(self) -> int:
        """Pods that failed, counted or about to be."""
        return self.failed + len(self.uncounted.failed)


def is_tracked(pod: Pod) -> bool:
    """Whether the Pod waits to be counted."""
    return TRACKING_FINALIZER in (pod.metadata.finalizers or ())


def belongs_to(pod: Pod, job: Job) -> bool:
    """Whether this very Job controls the Pod."""
    controller = controller_of(pod)
    return controller is not None and controller.uid == job.metadata.uid


def job_names(pod: Pod) -> Iterable[str]:
    """The Job that a Pod concerns: its controller's name or, of a Pod set free, its label's."""
    controller = controller_of(pod)
    if controller is not None:
        if controller.kind == "Job" and controller.api_version.startswith("batch/"):
            return (controller.name,)
        return ()
    name = pod.metadata.label(JOB_NAME_LABEL) if is_tracked(pod) else ""
    return (name,) if name else ()


def fate_of(pod: Pod, job: Job) -> Fate:
    """How a Pod ended; empty while it may still succeed.

    A Pod that was told to end counts as failed at once; where only failed Pods are replaced, when the node
    let it go.
    """
    phase = phase_of(pod)
    if phase == "Succeeded":
        return "succeeded"
    if phase == "Failed":
        return "failed"
    if not pod.deleting:
        return ""
    if replaces_only_failed(job) and pod.metadata.deletion_grace_period_seconds:
        return ""
    return "failed"


def replaces_only_failed(job: Job) -> bool:
    """Whether a Pod is replaced only when it has ended altogether."""
    return job.spec is not None and job.spec.pod_replacement_policy == "Failed"


def tally_of(job: Job, pods: Sequence[Pod]) -> Tally:
    """Count.

    Args:
        job: with its last status.
        pods: those it controls, in any state.
    """
    status = job.status or JobStatus()
    stored = status.uncounted_terminated_pods or UncountedPods()
    tracked = {pod.metadata.uid: pod for pod in pods if is_tracked(pod)}
    succeeded = [uid for uid in stored.succeeded if uid in tracked]
    failed = [uid for uid in stored.failed if uid in tracked]
    known = {*stored.succeeded, *stored.failed}
    ignored: list[str] = []
    for uid, pod in tracked.items():
        if uid in known:
            continue
        match fate_of(pod, job):
            case "succeeded":
                succeeded.append(uid)
            case "failed" if judge_failure(job, pod).action == "Ignore":
                ignored.append(uid)
            case "failed":
                failed.append(uid)
            case _:
                continue
    return Tally(
        succeeded=status.succeeded + sum(uid not in tracked for uid in stored.succeeded),
        failed=status.failed + sum(uid not in tracked for uid in stored.failed),
        uncounted=UncountedPods(succeeded=tuple(succeeded), failed=tuple(failed)),
        untrack=tuple(tracked[uid] for uid in (*succeeded, *failed, *ignored)),
        indexes=_succeeded_indexes(job, [tracked[uid] for uid in succeeded]),
        failure=_failure(job, pods),
    )


def _succeeded_indexes(job: Job, ended: Sequence[Pod]) -> frozenset[int] | None:
    if not is_indexed(job):
        return None
    stored = parse_indexes((job.status or JobStatus()).completed_indexes)
    found = {index_of(pod, job) for pod in ended}
    return frozenset(stored | {number for number in found if number is not None})


def _failure(job: Job, pods: Sequence[Pod]) -> str:
    for pod in sorted(pods, key=lambda one: one.metadata.name):
        if phase_of(pod) == "Failed":
            judgement = judge_failure(job, pod)
            if judgement.action == "FailJob":
                return judgement.message
    return ""
