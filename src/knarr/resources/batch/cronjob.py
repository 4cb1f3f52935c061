"""CronJob (``batch/v1``)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import ObjectMeta, Resource, Struct
from knarr.resources.batch.job import job_spec_errors
from knarr.resources.batch.jobspec import JobSpec
from knarr.resources.batch.schedule import parse_schedule, parse_zone
from knarr.resources.columns import (
    AGE,
    NONE,
    containers_cell,
    format_selector,
    get,
    images_cell,
    items,
    since,
    text,
)
from knarr.resources.core.pod_defaults import default_template
from knarr.resources.core.references import ObjectReference
from knarr.resources.fielderrors import invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import annotation_errors, label_errors, metadata_errors

MAX_NAME = 52
"""Longer names would make names of Jobs that are longer than 63 characters."""

_POLICIES = ("Allow", "Forbid", "Replace")


class JobTemplateSpec(Struct, frozen=True, kw_only=True):
    """The Jobs that a CronJob makes."""

    metadata: ObjectMeta | None = None
    spec: JobSpec | None = None


class CronJobSpec(Struct, frozen=True, kw_only=True):
    """When Jobs are made and which; ``concurrencyPolicy`` is Allow, Forbid or Replace."""

    schedule: str = ""
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = ""
    suspend: bool | None = None
    job_template: JobTemplateSpec | None = None
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None


class CronJobStatus(Struct, frozen=True, kw_only=True):
    """The Jobs that run, and when the last one was due and when one last succeeded."""

    active: tuple[ObjectReference, ...] = ()
    last_schedule_time: str | None = None
    last_successful_time: str | None = None


class CronJob(Resource, frozen=True, kw_only=True):
    """Makes Jobs at the times of a schedule."""

    spec: CronJobSpec | None = None
    status: CronJobStatus | None = None


def default_cron_job(subject: CronJob, admission: Admission) -> CronJob:
    """Jobs may overlap; three that succeeded and one that failed are kept."""
    if admission.subresource:
        return subject
    spec = subject.spec or CronJobSpec()
    template = spec.job_template or JobTemplateSpec()
    job = template.spec or JobSpec()
    succeeded, failed = spec.successful_jobs_history_limit, spec.failed_jobs_history_limit
    spec = replace(
        spec,
        concurrency_policy=spec.concurrency_policy or "Allow",
        suspend=bool(spec.suspend),
        successful_jobs_history_limit=3 if succeeded is None else succeeded,
        failed_jobs_history_limit=1 if failed is None else failed,
        job_template=replace(
            template,
            metadata=template.metadata or ObjectMeta(),
            spec=replace(job, template=default_template(job.template)),
        ),
    )
    status = subject.status
    if status is None and admission.operation == "CREATE":
        status = CronJobStatus()
    return replace(subject, spec=spec, status=status)


def _schedule_errors(spec: CronJobSpec) -> list[FieldError]:
    if not spec.schedule:
        return [required("schedule")]
    if "TZ" in spec.schedule:
        hint = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return [invalid("schedule", spec.schedule, hint)]
    try:
        parse_schedule(spec.schedule)
    except ValueError as error:
        return [invalid("schedule", spec.schedule, str(error))]
    return []


def _zone_errors(name: str | None) -> list[FieldError]:
    if name is None:
        return []
    if not name:
        return [invalid("timeZone", name, "timeZone must be nil or non-empty string")]
    if name.lower() == "local":
        hint = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        return [invalid("timeZone", name, hint)]
    try:
        parse_zone(name)
    except ValueError as error:
        return [invalid("timeZone", name, str(error))]
    return []


def _template_errors(template: JobTemplateSpec | None) -> list[FieldError]:
    template = template or JobTemplateSpec()
    spec = template.spec or JobSpec()
    errors: list[FieldError] = []
    if template.metadata is not None:
        errors += label_errors(template.metadata.labels, "metadata.labels")
        errors += annotation_errors(template.metadata.annotations, "metadata.annotations")
    if spec.manual_selector:
        errors.append(not_supported("spec.manualSelector", value=True, supported=("false", "nil")))
    if spec.selector is not None:
        errors.append(invalid("spec.selector", spec.selector, "`selector` will be auto-generated"))
    return [*errors, *at("spec", job_spec_errors(spec))]


def validate_cron_job(subject: CronJob, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules."""
    if admission.subresource:
        return ()
    errors = metadata_errors(subject.metadata)
    if admission.old is None and len(subject.metadata.name) > MAX_NAME:
        limit = f"must be no more than {MAX_NAME} characters"
        errors.append(invalid("metadata.name", subject.metadata.name, limit))
    spec = subject.spec or CronJobSpec()
    found = [*_schedule_errors(spec), *_zone_errors(spec.time_zone)]
    if spec.concurrency_policy not in {"", *_POLICIES}:
        found.append(not_supported("concurrencyPolicy", spec.concurrency_policy, _POLICIES))
    numbers = {
        "startingDeadlineSeconds": spec.starting_deadline_seconds,
        "successfulJobsHistoryLimit": spec.successful_jobs_history_limit,
        "failedJobsHistoryLimit": spec.failed_jobs_history_limit,
    }
    found += [
        invalid(name, value, "must be greater than or equal to 0")
        for name, value in numbers.items()
        if value is not None and value < 0
    ]
    found += at("jobTemplate", _template_errors(spec.job_template))
    return (*errors, *at("spec", found))


def _suspend(document: Mapping[str, Any], _: float) -> object:
    value = get(document, "spec", "suspend")
    return "<unset>" if value is None else str(bool(value))


def _last_schedule(document: Mapping[str, Any], now: float) -> object:
    last = get(document, "status", "lastScheduleTime")
    return since(last, now) if last else NONE


_CONTAINERS = ("spec", "jobTemplate", "spec", "template", "spec", "containers")

CRON_JOB: Kind[CronJob] = Kind(
    group="batch",
    version="v1",
    kind="CronJob",
    plural="cronjobs",
    singular="cronjob",
    short_names=("cj",),
    categories=("all",),
    builtin=True,
    model=CronJob,
    age=False,
    columns=(
        Column("Schedule", "string", text("spec", "schedule")),
        Column("Timezone", "string", lambda doc, _: get(doc, "spec", "timeZone") or NONE),
        Column("Suspend", "boolean", _suspend),
        Column("Active", "integer", lambda doc, _: len(items(doc, "status", "active"))),
        Column("Last Schedule", "string", _last_schedule),
        AGE,
        Column("Containers", "string", containers_cell(*_CONTAINERS), priority=1),
        Column("Images", "string", images_cell(*_CONTAINERS), priority=1),
        Column(
            "Selector",
            "string",
            lambda doc, _: format_selector(get(doc, "spec", "jobTemplate", "spec", "selector")),
            priority=1,
        ),
    ),
    default=default_cron_job,
    validate=validate_cron_job,
)
