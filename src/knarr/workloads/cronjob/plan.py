"""Decides what a CronJob does now; pure (semantics of Kubernetes ``pkg/controller/cronjob``).

Of several missed times only the newest is made up for. What was started is read from the Jobs as well as
from the status, so that a crash between the two writes starts nothing twice.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Literal

from msgspec.structs import replace

from knarr.kits.clock import format_timestamp, parse_timestamp
from knarr.resources.batch.cronjob import CronJob, CronJobSpec, CronJobStatus
from knarr.resources.batch.jobspec import Job
from knarr.resources.batch.schedule import Schedule, parse_schedule, parse_zone
from knarr.workloads.conditions import find
from knarr.workloads.cronjob.resources import reference_to, scheduled_time
from knarr.workloads.job.plan import COMPLETE, is_over, is_true

MANY_MISSED = 100
_MARGIN_S = 0.1
_BLOCKED = "Not starting job because prior execution is running and concurrency policy is Forbid"
_MISSED = (
    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
)


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to record."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        status: as it is now, before anything is started.
        start: the scheduled time whose Job is to be made.
        replaced: Jobs that run and give way to it.
        expired: Jobs that ended and are beyond the limits of the history.
        notices: what to tell people.
        requeue_after_s: when the next time comes.
    """

    status: CronJobStatus
    start: dt.datetime | None = None
    replaced: tuple[Job, ...] = ()
    expired: tuple[Job, ...] = ()
    notices: tuple[Notice, ...] = ()
    requeue_after_s: float | None = None


def schedule_of(spec: CronJobSpec) -> Schedule:
    """The schedule in its zone.

    Raises:
        ValueError: one of the two has no meaning.
    """
    return parse_schedule(spec.schedule, parse_zone(spec.time_zone))


def plan_cron_job(cron_job: CronJob, jobs: Sequence[Job], now: dt.datetime) -> Plan:
    """One step.

    Args:
        cron_job: not being deleted, with its last status.
        jobs: those it controls.
        now: the current time.
    """
    spec = cron_job.spec or CronJobSpec()
    status, notices = _observe(cron_job, jobs)
    plan = Plan(status, expired=_expired(spec, jobs), notices=notices)
    if spec.suspend:
        return plan
    try:
        schedule = schedule_of(spec)
    except ValueError as error:
        problem = Notice("Warning", "UnparseableSchedule", f"unparseable schedule: {error}")
        return changed(plan, notices=(*notices, problem))
    following = schedule.next_after(now)
    if following is not None:
        plan = changed(plan, requeue_after_s=(following - now).total_seconds() + _MARGIN_S)
    return _start(cron_job, spec, jobs, schedule, plan, now)


def _observe(cron_job: CronJob, jobs: Sequence[Job]) -> tuple[CronJobStatus, tuple[Notice, ...]]:
    """The status that the Jobs justify, and what there is to tell of those that ended."""
    status = cron_job.status or CronJobStatus()
    known = {reference.uid: reference for reference in status.active}
    running = [job for job in jobs if not is_over(job) and scheduled_time(job) is not None]
    notices = tuple(
        Notice("Normal", "SawCompletedJob", f"Saw completed job: {job.metadata.name}")
        for job in jobs
        if is_over(job) and job.metadata.uid in known
    )
    starts = [moment for job in jobs if (moment := scheduled_time(job)) is not None]
    ends = [end for job in jobs if (end := _succeeded_at(job)) is not None]
    return (
        replace(
            status,
            active=tuple(known.get(job.metadata.uid) or reference_to(job) for job in running),
            last_schedule_time=_newest(status.last_schedule_time, starts),
            last_successful_time=_newest(status.last_successful_time, ends),
        ),
        notices,
    )


def _succeeded_at(job: Job) -> dt.datetime | None:
    if job.status is None or not is_true(job.status.conditions, COMPLETE):
        return None
    done = find(job.status.conditions, COMPLETE)
    text = job.status.completion_time or (done.last_transition_time if done else None)
    return parse_timestamp(text) if text else None


def _newest(stored: str | None, moments: Sequence[dt.datetime]) -> str | None:
    newest = max(moments, default=None)
    if newest is None or (stored is not None and parse_timestamp(stored) >= newest):
        return stored
    return format_timestamp(newest)


def _expired(spec: CronJobSpec, jobs: Sequence[Job]) -> tuple[Job, ...]:
    ended = [job for job in jobs if is_over(job) and not job.deleting]
    ended.sort(key=lambda job: (_started(job), job.metadata.name))
    result: list[Job] = []
    for limit, succeeded in (
        (spec.successful_jobs_history_limit, True),
        (spec.failed_jobs_history_limit, False),
    ):
        group = [job for job in ended if (_succeeded_at(job) is not None) == succeeded]
        if limit is not None:
            result += group[: max(0, len(group) - limit)]
    return tuple(result)


def _started(job: Job) -> str:
    started = job.status.start_time if job.status else None
    return started or job.metadata.creation_timestamp or ""


def _start(
    cron_job: CronJob,
    spec: CronJobSpec,
    jobs: Sequence[Job],
    schedule: Schedule,
    plan: Plan,
    now: dt.datetime,
) -> Plan:
    last = plan.status.last_schedule_time or cron_job.metadata.creation_timestamp
    earliest = parse_timestamp(last) if last else now
    missed = schedule.last_until(earliest, now)
    if missed is None:
        return plan
    notices = plan.notices
    if schedule.count(earliest, now, MANY_MISSED + 1) > MANY_MISSED:
        notices = (*notices, Notice("Warning", "TooManyMissedTimes", _MISSED))
    deadline_s = spec.starting_deadline_seconds
    if deadline_s is not None and (now - missed).total_seconds() > deadline_s:
        text = f"Missed scheduled time to start a job: {format_timestamp(missed)}"
        return changed(plan, notices=(*notices, Notice("Warning", "MissSchedule", text)))
    active = {reference.uid for reference in plan.status.active}
    running = tuple(job for job in jobs if job.metadata.uid in active)
    if running and spec.concurrency_policy == "Forbid":
        blocked = Notice("Normal", "JobAlreadyActive", _BLOCKED)
        return changed(plan, notices=(*notices, blocked))
    replaced = running if spec.concurrency_policy == "Replace" else ()
    return changed(plan, start=missed, replaced=replaced, notices=notices)


def started(status: CronJobStatus, start: dt.datetime, job: Job | None) -> CronJobStatus:
    """The status after the Job of a time was made; ``job`` None when its name was taken."""
    present = {reference.uid for reference in status.active}
    fresh = job is not None and not is_over(job) and job.metadata.uid not in present
    active = (*status.active, reference_to(job)) if job is not None and fresh else status.active
    return replace(
        status, active=active, last_schedule_time=_newest(status.last_schedule_time, [start])
    )
