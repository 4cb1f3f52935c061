"""The Jobs of a CronJob."""

import datetime as dt

from knarr.kits.clock import format_timestamp, parse_timestamp
from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.batch.cronjob import CronJob, JobTemplateSpec
from knarr.resources.batch.jobspec import Job
from knarr.resources.core.references import ObjectReference

SCHEDULED_ANNOTATION = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def job_name(cron_job: CronJob, scheduled: dt.datetime) -> str:
    """The name of the Job of a scheduled time: one per minute, so that a time is never used twice."""
    return f"{cron_job.metadata.name}-{int(scheduled.timestamp()) // 60}"


def make_job(cron_job: CronJob, scheduled: dt.datetime, zone: dt.tzinfo) -> Job:
    """The Job of a scheduled time."""
    template = (cron_job.spec.job_template if cron_job.spec else None) or JobTemplateSpec()
    metadata = template.metadata or ObjectMeta()
    local = scheduled.astimezone(zone)
    moment = format_timestamp(scheduled) if not local.utcoffset() else local.isoformat()
    return Job(
        metadata=ObjectMeta(
            name=job_name(cron_job, scheduled),
            namespace=cron_job.metadata.namespace,
            labels=metadata.labels,
            annotations={**(metadata.annotations or {}), SCHEDULED_ANNOTATION: moment},
            finalizers=metadata.finalizers,
            owner_references=(owner_reference(cron_job),),
        ),
        spec=template.spec,
    )


def scheduled_time(job: Job) -> dt.datetime | None:
    """For which time a Job was made; None when the schedule did not make it."""
    try:
        return parse_timestamp(job.metadata.annotation(SCHEDULED_ANNOTATION))
    except ValueError:
        return None


def reference_to(job: Job) -> ObjectReference:
    """How a CronJob's status names a Job that runs."""
    return ObjectReference(
        api_version=job.api_version,
        kind=job.kind,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        uid=job.metadata.uid,
        resource_version=job.metadata.resource_version,
    )
