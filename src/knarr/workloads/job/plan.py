"""Decides what a Job does next; pure (semantics of Kubernetes ``pkg/controller/job``)."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from knarr.kits.clock import parse_timestamp
from knarr.resources.batch.jobspec import Job, JobSpec, JobStatus
from knarr.resources.core.pod import Pod
from knarr.workloads import pods as pods_of
from knarr.workloads.conditions import Conditions, find
from knarr.workloads.job.backoff import backoff_s
from knarr.workloads.job.indexes import index_of, pending_indexes, superfluous
from knarr.workloads.job.tracking import Tally, replaces_only_failed

Outcome = Literal["Complete", "Failed"]
COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
SUSPENDED: Final = "Suspended"
POD_FAILURE_POLICY: Final = "PodFailurePolicy"
TARGETS = {COMPLETE: "SuccessCriteriaMet", FAILED: "FailureTarget"}
"""The condition that announces an end; the end itself follows when no Pod is left running."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the Job ends."""

    outcome: Outcome
    reason: str
    message: str


REACHED = Verdict(COMPLETE, "CompletionsReached", "Reached expected number of succeeded pods")
EXCEEDED = Verdict(FAILED, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
LATE = Verdict(FAILED, "DeadlineExceeded", "Job was active longer than specified deadline")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        create: Pods to make.
        indexes: their numbers, of an Indexed Job.
        end: Pods to delete because the Job is over; they count as failed.
        drop: Pods to delete because fewer are wanted; they count as nothing.
        verdict: how the Job ends, when it does.
        expired: the Job's time to live after its end is over.
        requeue_after_s: when to look again although nothing happened.
    """

    create: int = 0
    indexes: tuple[int, ...] = ()
    end: tuple[Pod, ...] = ()
    drop: tuple[Pod, ...] = ()
    verdict: Verdict | None = None
    expired: bool = False
    requeue_after_s: float | None = None


def is_true(conditions: Conditions, kind: str) -> bool:
    """Whether a condition is there and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def is_over(job: Job) -> bool:
    """Whether the Job has ended, one way or the other."""
    conditions = job.status.conditions if job.status else ()
    return is_true(conditions, COMPLETE) or is_true(conditions, FAILED)


def is_suspended(job: Job) -> bool:
    """Whether it is not to run now."""
    return job.spec is not None and bool(job.spec.suspend)


def active_pods(pods: Sequence[Pod]) -> list[Pod]:
    """Those that may still succeed."""
    return [pod for pod in pods if pods_of.is_active(pod)]


def terminating_pods(pods: Sequence[Pod]) -> list[Pod]:
    """Those that were told to end and have not yet."""
    return [pod for pod in pods if pod.deleting and not pods_of.is_finished(pod)]


def plan_job(job: Job, tally: Tally, pods: Sequence[Pod], now: dt.datetime) -> Plan:
    """One step.

    Args:
        job: defaulted and valid, with its last status.
        tally: of the same Pods.
        pods: those it controls, in any state.
        now: the current time.
    """
    spec, active = job.spec or JobSpec(), active_pods(pods)
    if is_over(job):
        left_s = _time_to_live_s(job, spec, now)
        return Plan(end=tuple(active), expired=left_s == 0, requeue_after_s=left_s or None)
    verdict = _announced(job) or _judge(job, spec, tally, pods, now)
    if verdict is not None:
        return Plan(end=tuple(active), verdict=verdict)
    if is_suspended(job):
        return Plan(drop=tuple(active))
    return _step(job, spec, tally, pods, now)


def _step(job: Job, spec: JobSpec, tally: Tally, pods: Sequence[Pod], now: dt.datetime) -> Plan:
    active = active_pods(pods)
    parallelism = 1 if spec.parallelism is None else spec.parallelism
    useless = superfluous(job, pods, tally.indexes) if tally.indexes is not None else []
    if useless:
        return Plan(drop=tuple(useless), requeue_after_s=_deadline_s(job, spec, now))
    if spec.completions is not None:
        wanted = min(spec.completions - tally.all_succeeded, parallelism)
    elif tally.all_succeeded:
        # Without a number, the first success says that there is nothing left to begin.
        wanted = min(len(active), parallelism)
    else:
        wanted = parallelism
    waits = [_deadline_s(job, spec, now)]
    surplus = len(active) - max(0, wanted)
    if surplus > 0:
        doomed = sorted(active, key=_rank)[:surplus]
        return Plan(drop=tuple(doomed), requeue_after_s=_earliest(waits))
    held = len(terminating_pods(pods)) if replaces_only_failed(job) else 0
    create = max(0, -surplus - held)
    pause_s = backoff_s(job, pods, tally, now) if create else 0.0
    if pause_s:
        create = 0
        waits.append(pause_s)
    numbers = _numbers(job, tally, pods, create)
    return Plan(
        create=create if tally.indexes is None else len(numbers),
        indexes=numbers,
        requeue_after_s=_earliest(waits),
    )


def _numbers(job: Job, tally: Tally, pods: Sequence[Pod], count: int) -> tuple[int, ...]:
    """The numbers of the next Pods; none unless the Job is Indexed."""
    if tally.indexes is None or not count:
        return ()
    holders = active_pods(pods)
    if replaces_only_failed(job):
        holders += terminating_pods(pods)
    busy = [index_of(pod, job) for pod in holders]
    taken = [number for number in busy if number is not None]
    return tuple(pending_indexes(job, tally.indexes, taken, count))


def _earliest(waits: list[float | None]) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)


def _rank(pod: Pod) -> tuple[object, ...]:
    """Sort key: the Pod that may go first comes first. The youngest of equals goes."""
    created = pod.metadata.creation_timestamp
    age = -parse_timestamp(created).timestamp() if created else 0.0
    return (
        bool(pods_of.node_of(pod)),
        pods_of.phase_of(pod) == "Running",
        pods_of.is_ready(pod),
        age,
        pod.metadata.name,
    )


def _announced(job: Job) -> Verdict | None:
    """The end that was decided before; it stands."""
    conditions = job.status.conditions if job.status else ()
    outcomes: tuple[Outcome, ...] = (COMPLETE, FAILED)
    for outcome in outcomes:
        found = find(conditions, TARGETS[outcome])
        if found is not None and found.status == "True":
            return Verdict(outcome, found.reason, found.message)
    return None


def _judge(
    job: Job, spec: JobSpec, tally: Tally, pods: Sequence[Pod], now: dt.datetime
) -> Verdict | None:
    if tally.failure:
        return Verdict(FAILED, POD_FAILURE_POLICY, tally.failure)
    limit = 6 if spec.backoff_limit is None else spec.backoff_limit
    if tally.all_failed > limit or _restarted_too_often(spec, limit, pods):
        return EXCEEDED
    if _deadline_s(job, spec, now) == 0:
        return LATE
    if spec.completions is not None:
        return REACHED if tally.all_succeeded >= spec.completions else None
    return REACHED if tally.all_succeeded and not active_pods(pods) else None


def _restarted_too_often(spec: JobSpec, limit: int, pods: Sequence[Pod]) -> bool:
    template = spec.template.spec if spec.template else None
    if template is None or template.restart_policy != "OnFailure":
        return False
    restarts = sum(_restarts(pod) for pod in active_pods(pods))
    return restarts > 0 if limit == 0 else restarts >= limit


def _restarts(pod: Pod) -> int:
    status = pod.status
    if status is None:
        return 0
    every = (*status.init_container_statuses, *status.container_statuses)
    return sum(item.restart_count or 0 for item in every)


def _deadline_s(job: Job, spec: JobSpec, now: dt.datetime) -> float | None:
    """Seconds until the Job has been active for too long; None when that never happens."""
    start = (job.status.start_time if job.status else None) or None
    if spec.active_deadline_seconds is None or is_suspended(job):
        return None
    if start is None or _resuming(job):
        return float(spec.active_deadline_seconds) or None
    passed_s = (now - parse_timestamp(start)).total_seconds()
    return max(0.0, spec.active_deadline_seconds - passed_s)


def _resuming(job: Job) -> bool:
    """Whether the suspension ended and the status does not say so yet: the clock starts anew."""
    conditions = job.status.conditions if job.status else ()
    return is_true(conditions, SUSPENDED) and not is_suspended(job)


def _time_to_live_s(job: Job, spec: JobSpec, now: dt.datetime) -> float | None:
    """Seconds that a Job that is over stays; None when it stays for good."""
    if spec.ttl_seconds_after_finished is None:
        return None
    conditions = job.status.conditions if job.status else ()
    ends = [
        item.last_transition_time
        for item in conditions
        if item.type in (COMPLETE, FAILED) and item.status == "True"
    ]
    ended = parse_timestamp(ends[0]) if ends and ends[0] else now
    return max(0.0, spec.ttl_seconds_after_finished - (now - ended).total_seconds())


def started_at(job: Job, now: str) -> str | None:
    """``status.startTime``: set at the first step, and anew when a suspension ends."""
    status = job.status or JobStatus()
    if is_suspended(job):
        return status.start_time
    return now if _resuming(job) or status.start_time is None else status.start_time
