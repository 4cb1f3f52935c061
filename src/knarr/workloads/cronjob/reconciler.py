"""Carries out what ``plan_cron_job`` decides."""

import datetime as dt
from dataclasses import dataclass

import msgspec

from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import BY_OWNER, Add, enqueue_controller, enqueue_self, owner_uids
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, NotFound, StatusError
from knarr.meta.objects import Key, controller_of
from knarr.resources.batch.cronjob import CRON_JOB, CronJob, CronJobSpec, CronJobStatus
from knarr.resources.batch.job import JOB
from knarr.resources.batch.jobspec import Job
from knarr.resources.batch.schedule import parse_zone
from knarr.workloads.cronjob.plan import plan_cron_job, started
from knarr.workloads.cronjob.resources import make_job


@dataclass(frozen=True, slots=True)
class CronJobReconciler:
    """Makes Jobs when their time has come, and deletes old ones."""

    client: Client
    cron_jobs: Informer[CronJob]
    jobs: Informer[Job]
    clock: Clock
    recorder: EventRecorder

    def watch(self, add: Add) -> None:
        """Follow CronJobs and their Jobs."""
        self.jobs.add_index(BY_OWNER, owner_uids)
        self.cron_jobs.add_handler(enqueue_self(add))
        self.jobs.add_handler(enqueue_controller(add, CRON_JOB))

    async def reconcile(self, key: Key) -> Result:
        """One step; it comes back by itself at the next time of the schedule."""
        cron_job = self.cron_jobs.get(key)
        if cron_job is None or cron_job.deleting:
            return DONE
        plan = plan_cron_job(cron_job, self._owned(cron_job), self.clock.wall())
        for notice in plan.notices:
            self.recorder.record(cron_job, notice.type, notice.reason, notice.message)
        for job in (*plan.expired, *plan.replaced):
            await self._delete(cron_job, job)
        status = plan.status
        if plan.replaced:
            gone = {job.metadata.uid for job in plan.replaced}
            kept = tuple(item for item in status.active if item.uid not in gone)
            status = msgspec.structs.replace(status, active=kept)
        if plan.start is not None:
            made = await self._create(cron_job, plan.start)
            status = started(status, plan.start, made)
        if status != (cron_job.status or CronJobStatus()):
            updated = msgspec.structs.replace(cron_job, status=status)
            self.cron_jobs.observe(await self.client.update_status(CRON_JOB, updated))
        return Result(plan.requeue_after_s)

    def _owned(self, cron_job: CronJob) -> tuple[Job, ...]:
        uid = cron_job.metadata.uid
        return tuple(job for job in self.jobs.by_index(BY_OWNER, uid) if _controlled_by(job, uid))

    async def _create(self, cron_job: CronJob, start: dt.datetime) -> Job | None:
        spec = cron_job.spec or CronJobSpec()
        wanted = make_job(cron_job, start, parse_zone(spec.time_zone))
        name = wanted.metadata.name
        try:
            job = await self.client.create(JOB, wanted)
        except AlreadyExists as error:
            return await self._existing(cron_job, wanted.key, error)
        except StatusError as error:
            text = f"Error creating job: {error.message}"
            self.recorder.record(cron_job, "Warning", "FailedCreate", text)
            raise
        self.jobs.observe(job)
        self.recorder.record(cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")
        return job

    async def _existing(self, cron_job: CronJob, key: Key, error: AlreadyExists) -> Job | None:
        """The Job of this time when it was made already, None when the name is somebody else's."""
        job = await self.client.get(JOB, key)
        self.jobs.observe(job)
        if _controlled_by(job, cron_job.metadata.uid):
            return job
        text = f"Error creating job: {error.message}"
        self.recorder.record(cron_job, "Warning", "FailedCreate", text)
        return None

    async def _delete(self, cron_job: CronJob, job: Job) -> None:
        uid = job.metadata.uid
        try:
            left = await self.client.delete(JOB, job.key, uid=uid, propagation="Background")
        except NotFound:
            left = None
        if left is not None and left.deleting:
            self.jobs.observe(left)
        else:
            self.jobs.forget(job.key, uid)
        text = f"Deleted job {job.metadata.name}"
        self.recorder.record(cron_job, "Normal", "SuccessfulDelete", text)


def _controlled_by(job: Job, uid: str) -> bool:
    controller = controller_of(job)
    return controller is not None and controller.uid == uid
