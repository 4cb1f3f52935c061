import datetime as dt

import pytest
from tests.unit.workloads.world import START, World, replace

from knarr.kits.clock import format_timestamp
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.batch.cronjob import (
    CRON_JOB,
    CronJob,
    CronJobSpec,
    CronJobStatus,
    JobTemplateSpec,
)
from knarr.resources.batch.job import JOB
from knarr.resources.batch.jobspec import Job, JobSpec, JobStatus
from knarr.resources.core.container import Container
from knarr.resources.core.event import EVENT
from knarr.resources.core.pod import POD
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.references import Condition, ObjectReference
from knarr.workloads.cronjob.plan import plan_cron_job, started
from knarr.workloads.cronjob.resources import SCHEDULED_ANNOTATION, job_name, make_job

KEY = Key("ns", "cron")
TEMPLATE = JobTemplateSpec(
    metadata=ObjectMeta(labels={"a": "b"}, annotations={"c": "d"}),
    spec=JobSpec(
        template=PodTemplateSpec(
            spec=PodSpec(containers=(Container(name="c", image="i"),), restart_policy="Never")
        )
    ),
)


def at(minutes: float, seconds: float = 0) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes, seconds=seconds)


def text(minutes: float) -> str:
    return format_timestamp(at(minutes))


def cron(*, last: float | None = None, active: tuple[str, ...] = (), **spec) -> CronJob:
    spec = {
        "schedule": "*/10 * * * *",
        "concurrency_policy": "Allow",
        "successful_jobs_history_limit": 3,
        "failed_jobs_history_limit": 1,
        "job_template": TEMPLATE,
    } | spec
    return CronJob(
        api_version="batch/v1",
        kind="CronJob",
        metadata=ObjectMeta(name="cron", namespace="ns", uid="c", creation_timestamp=text(1)),
        spec=CronJobSpec(**spec),
        status=CronJobStatus(
            last_schedule_time=None if last is None else text(last),
            active=tuple(ObjectReference(uid=uid, name=uid) for uid in active),
        ),
    )


def job(name: str, scheduled: float | None = None, *, over="", ended: float = 0) -> Job:
    annotations = None if scheduled is None else {SCHEDULED_ANNOTATION: text(scheduled)}
    conditions = ()
    if over:
        conditions = (Condition(type=over, status="True", last_transition_time=text(ended)),)
    return Job(
        api_version="batch/v1",
        kind="Job",
        metadata=ObjectMeta(name=name, namespace="ns", uid=name, annotations=annotations),
        status=JobStatus(
            conditions=conditions,
            start_time=text(scheduled or 0),
            completion_time=text(ended) if over == "Complete" else None,
        ),
    )


@pytest.mark.parametrize(
    ("subject", "now", "start"),
    [
        (cron(), at(5), None),
        (cron(), at(10), at(10)),
        (cron(), at(10, 1), at(10)),
        (cron(), at(35), at(30)),
        (cron(last=30), at(35), None),
        (cron(last=30), at(40), at(40)),
        (cron(suspend=True), at(40), None),
        (cron(starting_deadline_seconds=60), at(35), None),
        (cron(starting_deadline_seconds=60), at(30, 59), at(30)),
        (cron(schedule="30 9 * * *", time_zone="Asia/Tokyo"), at(35), at(30)),
    ],
)
def test_what_is_due(subject, now, start):
    assert plan_cron_job(subject, (), now).start == start


def test_it_comes_back_at_the_next_time():
    assert plan_cron_job(cron(last=10), (), at(15)).requeue_after_s == pytest.approx(300.1)
    assert plan_cron_job(cron(suspend=True), (), at(15)).requeue_after_s is None


def test_a_job_that_was_made_but_not_written_down_is_not_made_again():
    made = job("cron-1", 10)
    plan = plan_cron_job(cron(), (made,), at(12))
    assert plan.start is None
    assert plan.status.last_schedule_time == text(10)
    assert [item.uid for item in plan.status.active] == ["cron-1"]


@pytest.mark.parametrize(
    ("policy", "start", "replaced", "reasons"),
    [
        ("Allow", at(20), (), []),
        ("Forbid", None, (), ["JobAlreadyActive"]),
        ("Replace", at(20), ("one",), []),
    ],
)
def test_while_one_runs(policy, start, replaced, reasons):
    subject = cron(last=10, active=("one",), concurrency_policy=policy)
    plan = plan_cron_job(subject, (job("one", 10), job("by-hand")), at(20))
    assert plan.start == start
    assert tuple(item.metadata.name for item in plan.replaced) == replaced
    assert [notice.reason for notice in plan.notices] == reasons


def test_what_ended_leaves_the_status():
    subject = cron(last=20, active=("one", "two"))
    jobs = (job("one", 10, over="Complete", ended=12), job("two", 20, over="Failed", ended=23))
    plan = plan_cron_job(subject, jobs, at(25))
    assert plan.status == CronJobStatus(last_schedule_time=text(20), last_successful_time=text(12))
    assert [notice.message for notice in plan.notices] == [
        "Saw completed job: one",
        "Saw completed job: two",
    ]
    again = plan_cron_job(replace(subject, status=plan.status), jobs, at(25))
    assert (again.status, again.notices) == (plan.status, ())


def test_history_is_limited_by_outcome():
    good = [job(f"g{number}", number, over="Complete", ended=number) for number in range(5)]
    bad = [job(f"b{number}", number, over="Failed", ended=number) for number in range(3)]
    plan = plan_cron_job(cron(last=10), (*bad, *reversed(good), job("on", 10)), at(11))
    assert sorted(item.metadata.name for item in plan.expired) == ["b0", "b1", "g0", "g1"]
    none = cron(last=10, successful_jobs_history_limit=0, failed_jobs_history_limit=0)
    assert len(plan_cron_job(none, (*good, *bad), at(11)).expired) == 8


def test_many_missed_times_are_told_and_the_newest_is_made_up_for():
    plan = plan_cron_job(cron(schedule="* * * * *"), (), at(60 * 24))
    assert plan.start == at(60 * 24)
    assert [notice.reason for notice in plan.notices] == ["TooManyMissedTimes"]


def test_what_cannot_be_understood_is_told():
    plan = plan_cron_job(cron(schedule="bad"), (), at(20))
    assert plan.start is None
    assert [notice.reason for notice in plan.notices] == ["UnparseableSchedule"]
    plan = plan_cron_job(cron(time_zone="Mars"), (), at(20))
    assert plan.notices[0].message == "unparseable schedule: unknown time zone Mars"


def test_the_job_says_for_when_it_is():
    zone = dt.timezone(dt.timedelta(hours=9))
    made = make_job(cron(), at(10), zone)
    assert made.metadata.name == job_name(cron(), at(10)) == "cron-29453770"
    assert made.metadata.labels == {"a": "b"}
    assert made.metadata.annotations == {
        "c": "d",
        SCHEDULED_ANNOTATION: "2026-01-01T09:10:00+09:00",
    }
    assert made.metadata.owner_references[0].controller
    assert make_job(cron(), at(10), dt.UTC).metadata.annotations[SCHEDULED_ANNOTATION] == text(10)


def test_a_name_that_somebody_else_has_uses_the_time_up():
    status = started(CronJobStatus(), at(10), None)
    assert status == CronJobStatus(last_schedule_time=text(10))


# --- on the real API server -------------------------------------------------------------------------------


async def plant(world: World, **spec) -> CronJob:
    spec = {"schedule": "*/10 * * * *"} | spec
    made = CronJob(
        metadata=ObjectMeta(name="cron", namespace="ns"),
        spec=CronJobSpec(job_template=TEMPLATE, **spec),
    )
    created = await world.client.create(CRON_JOB, made)
    await world.settle()
    return created


async def wait_until(world: World, minutes: float) -> None:
    while world.clock.wall() < at(minutes):
        await world.settle()


async def jobs(world: World) -> list[Job]:
    return list(await world.client.list(JOB, "ns"))


async def finish(world: World) -> None:
    await world.run_pods()
    for item in await world.pods():
        if item.status.phase == "Running":
            await world.client.update_status(
                POD, replace(item, status=replace(item.status, phase="Succeeded"))
            )
    await world.settle()


def test_jobs_come_when_they_are_due(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await plant(world)
            await wait_until(world, 9.9)
            assert await jobs(world) == []
            await wait_until(world, 10.1)
            (made,) = await jobs(world)
            assert made.metadata.annotations[SCHEDULED_ANNOTATION] == text(10)
            status = (await world.client.get(CRON_JOB, KEY)).status
            assert status.last_schedule_time == text(10)
            assert [item.name for item in status.active] == [made.metadata.name]
            assert await world.again() == []
            await finish(world)
            status = (await world.client.get(CRON_JOB, KEY)).status
            assert status.active == ()
            assert status.last_successful_time >= text(10)
            assert await world.again() == []
            assert world.errors() == 0
            events = {item.reason for item in await world.client.list(EVENT, "ns")}
            assert {"SuccessfulCreate", "SawCompletedJob"} <= events

    fake_time(story())


def test_only_a_few_are_kept(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await plant(world, schedule="* * * * *", successful_jobs_history_limit=2)
            for minute in range(1, 5):
                await wait_until(world, minute + 0.1)
                await finish(world)
            names = [item.metadata.annotations[SCHEDULED_ANNOTATION] for item in await jobs(world)]
            assert names == [text(3), text(4)]
            await world.settle()
            assert len(await world.pods()) == 2

    fake_time(story())


def test_a_forbidden_overlap_starts_when_the_other_ends(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await plant(world, concurrency_policy="Forbid")
            await wait_until(world, 22)
            assert len(await jobs(world)) == 1
            await finish(world)
            times = [item.metadata.annotations[SCHEDULED_ANNOTATION] for item in await jobs(world)]
            assert times == [text(10), text(20)]

    fake_time(story())


def test_the_newer_replaces_the_older(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await plant(world, concurrency_policy="Replace")
            await wait_until(world, 20.1)
            (left,) = await jobs(world)
            assert left.metadata.annotations[SCHEDULED_ANNOTATION] == text(20)
            status = (await world.client.get(CRON_JOB, KEY)).status
            assert [item.uid for item in status.active] == [left.metadata.uid]
            assert await world.again() == []

    fake_time(story())


def test_suspending_and_resuming(fake_time):
    async def story():
        async with World() as world:
            await plant(world, suspend=True)
            await wait_until(world, 25)
            assert await jobs(world) == []
            await world.client.patch(CRON_JOB, KEY, {"spec": {"suspend": False}})
            await world.settle()
            (made,) = await jobs(world)
            assert made.metadata.annotations[SCHEDULED_ANNOTATION] == text(20)

    fake_time(story())


def test_a_name_that_is_taken_is_told_once_per_time(fake_time):
    async def story():
        async with World() as world:
            created = await plant(world)
            name = job_name(created, at(10))
            other = Job(metadata=ObjectMeta(name=name, namespace="ns"), spec=TEMPLATE.spec)
            await world.client.create(JOB, other)
            await wait_until(world, 10.2)
            assert len(await jobs(world)) == 1
            status = (await world.client.get(CRON_JOB, KEY)).status
            assert (status.active, status.last_schedule_time) == ((), text(10))
            assert await world.again() == []

    fake_time(story())


def test_deleting_it_takes_everything(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await plant(world)
            await wait_until(world, 10.2)
            await world.run_pods()
            await world.client.delete(CRON_JOB, KEY)
            await world.settle()
            await world.run_pods()
            assert (await jobs(world), await world.pods()) == ([], [])

    fake_time(story())
