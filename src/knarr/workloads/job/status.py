"""The status that a Job's Pods justify; pure."""

import datetime as dt
from collections.abc import Sequence

from msgspec.structs import replace

from knarr.kits.clock import format_timestamp
from knarr.resources.batch.jobspec import Job, JobStatus
from knarr.resources.core.pod import Pod
from knarr.resources.core.references import Condition
from knarr.workloads import pods as pods_of
from knarr.workloads.conditions import Conditions, find, put
from knarr.workloads.job.indexes import format_indexes
from knarr.workloads.job.plan import (
    COMPLETE,
    FAILED,
    POD_FAILURE_POLICY,
    SUSPENDED,
    TARGETS,
    Verdict,
    active_pods,
    is_over,
    is_suspended,
    started_at,
    terminating_pods,
)
from knarr.workloads.job.tracking import Tally


def counted(job: Job, tally: Tally, now: dt.datetime) -> JobStatus:
    """The last status with the counts of now.

    Nothing else is changed, but for the announcement that the Job fails by its policy: the Pod that says so
    may be gone once it was counted.
    """
    status = replace(
        job.status or JobStatus(),
        succeeded=tally.succeeded if tally.indexes is None else len(tally.indexes),
        failed=tally.failed,
        uncounted_terminated_pods=tally.uncounted,
    )
    if tally.indexes is not None:
        status = replace(status, completed_indexes=format_indexes(tally.indexes))
    if not tally.failure or is_over(job) or find(status.conditions, TARGETS[FAILED]) is not None:
        return status
    moment = format_timestamp(now)
    target = _condition(TARGETS[FAILED], POD_FAILURE_POLICY, tally.failure, moment)
    return replace(status, conditions=put(status.conditions, target))


def compute_status(
    job: Job, tally: Tally, pods: Sequence[Pod], verdict: Verdict | None, now: dt.datetime
) -> JobStatus:
    """The whole status; equal to the last one when nothing changed.

    Args:
        job: with its last status.
        tally: of the same Pods.
        pods: those it controls, after this step.
        verdict: how the Job ends, when it does.
        now: the current time.
    """
    moment = format_timestamp(now)
    active, terminating = active_pods(pods), terminating_pods(pods)
    status = replace(
        counted(job, tally, now),
        active=len(active),
        ready=sum(pods_of.is_ready(pod) for pod in active),
        terminating=len(terminating),
    )
    if is_over(job):
        return status
    conditions = status.conditions
    if verdict is None:
        conditions = _suspension(job, conditions, moment)
        return replace(status, conditions=conditions, start_time=started_at(job, moment))
    target = TARGETS[verdict.outcome]
    conditions = put(conditions, _condition(target, verdict.reason, verdict.message, moment))
    status = replace(status, conditions=conditions, start_time=started_at(job, moment) or moment)
    uncounted = tally.uncounted.succeeded or tally.uncounted.failed
    if active or terminating or uncounted:
        return status
    end = _condition(verdict.outcome, verdict.reason, verdict.message, moment)
    return replace(
        status,
        conditions=put(conditions, end),
        completion_time=moment if verdict.outcome == COMPLETE else None,
    )


def _condition(
    kind: str, reason: str, message: str, moment: str, status: str = "True"
) -> Condition:
    return Condition(
        type=kind,
        status=status,
        last_probe_time=moment,
        last_transition_time=moment,
        reason=reason,
        message=message,
    )


def _suspension(job: Job, conditions: Conditions, moment: str) -> Conditions:
    if is_suspended(job):
        new = _condition(SUSPENDED, "JobSuspended", "Job suspended", moment)
    elif find(conditions, SUSPENDED) is None:
        return conditions
    else:
        new = _condition(SUSPENDED, "JobResumed", "Job resumed", moment, "False")
    old = find(conditions, SUSPENDED)
    return conditions if old is not None and old.status == new.status else put(conditions, new)
