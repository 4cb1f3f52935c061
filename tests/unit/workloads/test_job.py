import datetime as dt

import pytest
from tests.unit.workloads.world import START, World, replace

from knarr.kits.clock import format_timestamp
from knarr.meta.errors import Forbidden
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.batch.job import JOB
from knarr.resources.batch.jobspec import Job, JobSpec, JobStatus, UncountedPods
from knarr.resources.core.container import (
    Container,
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
)
from knarr.resources.core.event import EVENT
from knarr.resources.core.pod import POD, Pod, PodStatus
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.references import Condition
from knarr.workloads.job.backoff import backoff_s, ended_at
from knarr.workloads.job.plan import EXCEEDED, LATE, REACHED, plan_job
from knarr.workloads.job.tracking import TRACKING_FINALIZER, Tally, fate_of, tally_of

KEY = Key("ns", "job")


def at(seconds: float) -> str:
    return format_timestamp(START + dt.timedelta(seconds=seconds))


def after(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def job(status: JobStatus | None = None, *, policy="Never", **spec) -> Job:
    template = PodTemplateSpec(
        spec=PodSpec(containers=(Container(name="c", image="i"),), restart_policy=policy)
    )
    spec = {"parallelism": 1, "completions": 1, "backoff_limit": 6} | spec
    return Job(
        api_version="batch/v1",
        kind="Job",
        metadata=ObjectMeta(name="job", namespace="ns", uid="u"),
        spec=JobSpec(template=template, **spec),
        status=status,
    )


def pod(number: int, phase="Running", *, ended: float | None = None, restarts=0, **metadata) -> Pod:
    tracked = {"finalizers": (TRACKING_FINALIZER,)} | metadata
    terminated = (
        None if ended is None else ContainerStateTerminated(exit_code=1, finished_at=at(ended))
    )
    container = ContainerStatus(
        name="c", restart_count=restarts, state=ContainerState(terminated=terminated)
    )
    return Pod(
        metadata=ObjectMeta(name=f"p{number}", namespace="ns", uid=f"p{number}", **tracked),
        spec=PodSpec(node_name="node"),
        status=PodStatus(phase=phase, container_statuses=(container,)),
    )


def tally(succeeded=0, failed=0) -> Tally:
    return Tally(succeeded, failed, UncountedPods(), ())


# --- counting ---------------------------------------------------------------------------------------------

GOING = {"deletion_timestamp": at(0), "deletion_grace_period_seconds": 30}
GONE = {"deletion_timestamp": at(0), "deletion_grace_period_seconds": 0}


@pytest.mark.parametrize(
    ("made", "policy", "fate"),
    [
        (pod(1, "Pending"), None, ""),
        (pod(1, "Running"), None, ""),
        (pod(1, "Succeeded"), None, "succeeded"),
        (pod(1, "Succeeded", **GONE), None, "succeeded"),
        (pod(1, "Failed"), None, "failed"),
        (pod(1, "Running", **GOING), None, "failed"),
        (pod(1, "Running", **GOING), "Failed", ""),
        (pod(1, "Running", **GONE), "Failed", "failed"),
    ],
)
def test_how_a_pod_ends(made, policy, fate):
    assert fate_of(made, job(pod_replacement_policy=policy)) == fate


def test_each_pod_is_counted_once_in_three_steps():
    ended = (pod(1, "Succeeded"), pod(2, "Failed"), pod(3))
    first = tally_of(job(), ended)
    assert (first.succeeded, first.failed) == (0, 0)
    assert first.uncounted == UncountedPods(succeeded=("p1",), failed=("p2",))
    assert [item.metadata.name for item in first.untrack] == ["p1", "p2"]
    stored = job(JobStatus(uncounted_terminated_pods=first.uncounted))
    half = tally_of(stored, (pod(1, "Succeeded", finalizers=()), *ended[1:]))
    assert (half.succeeded, half.failed) == (1, 0)
    assert half.uncounted == UncountedPods(failed=("p2",))
    last = tally_of(stored, (pod(3),))
    assert (last.succeeded, last.failed, last.untrack) == (1, 1, ())
    assert (last.all_succeeded, first.all_succeeded) == (1, 1)


# --- deciding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "counts", "active", "create", "drop"),
    [
        ({}, tally(), 0, 1, 0),
        ({}, tally(), 1, 0, 0),
        ({"parallelism": 3, "completions": 5}, tally(), 0, 3, 0),
        ({"parallelism": 3, "completions": 5}, tally(4), 0, 1, 0),
        ({"parallelism": 3, "completions": 5}, tally(2), 1, 2, 0),
        ({"parallelism": 1, "completions": 5}, tally(), 3, 0, 2),
        ({"parallelism": 0, "completions": 5}, tally(), 3, 0, 3),
        ({"parallelism": 3, "completions": None}, tally(), 1, 2, 0),
        ({"parallelism": 3, "completions": None}, tally(1), 2, 0, 0),
        ({"parallelism": 1, "completions": None}, tally(1), 2, 0, 1),
        ({"parallelism": 3, "completions": 5, "suspend": True}, tally(), 2, 0, 2),
    ],
)
def test_how_many_pods_there_are_to_be(spec, counts, active, create, drop):
    pods = tuple(pod(number) for number in range(active))
    plan = plan_job(job(**spec), counts, pods, START)
    assert (plan.create, len(plan.drop), plan.end, plan.verdict) == (create, drop, (), None)


def test_terminating_pods_hold_their_place_when_only_failed_ones_are_replaced():
    going = (pod(1, **GOING),)
    assert plan_job(job(), tally(), going, after(60)).create == 1
    assert plan_job(job(pod_replacement_policy="Failed"), tally(), going, after(60)).create == 0


RUNNING_SINCE = JobStatus(start_time=at(0))


@pytest.mark.parametrize(
    ("subject", "counts", "pods", "verdict"),
    [
        (job(), tally(1), (), REACHED),
        (job(completions=0), tally(), (), REACHED),
        (job(completions=2, parallelism=2), tally(2), (pod(1),), REACHED),
        (job(completions=None), tally(1), (pod(1),), None),
        (job(completions=None), tally(1), (), REACHED),
        (job(backoff_limit=2), tally(failed=2), (), None),
        (job(backoff_limit=2), tally(failed=3), (pod(1),), EXCEEDED),
        (job(backoff_limit=0), tally(failed=1), (), EXCEEDED),
        (job(policy="OnFailure", backoff_limit=2), tally(), (pod(1, restarts=1),), None),
        (job(policy="OnFailure", backoff_limit=2), tally(), (pod(1, restarts=2),), EXCEEDED),
        (job(policy="OnFailure", backoff_limit=0), tally(), (pod(1, restarts=1),), EXCEEDED),
        (job(policy="Never", backoff_limit=0), tally(), (pod(1, restarts=1),), None),
        (job(RUNNING_SINCE, active_deadline_seconds=60), tally(), (pod(1),), LATE),
        (job(RUNNING_SINCE, active_deadline_seconds=61), tally(), (pod(1),), None),
        (job(RUNNING_SINCE, active_deadline_seconds=1, suspend=True), tally(), (), None),
    ],
)
def test_when_it_ends(subject, counts, pods, verdict):
    plan = plan_job(subject, counts, pods, after(60))
    assert plan.verdict == verdict
    if verdict is not None:
        assert (plan.create, plan.end) == (0, pods)


def test_what_was_announced_stands():
    status = JobStatus(
        conditions=(Condition(type="FailureTarget", status="True", reason="DeadlineExceeded"),)
    )
    plan = plan_job(job(status), tally(5), (), START)
    assert (plan.verdict.outcome, plan.verdict.reason) == ("Failed", "DeadlineExceeded")


def test_the_deadline_brings_it_back():
    plan = plan_job(job(RUNNING_SINCE, active_deadline_seconds=90), tally(), (pod(1),), after(60))
    assert plan.requeue_after_s == 30


@pytest.mark.parametrize(
    ("failures", "pause_s"), [(1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (50, 600)]
)
def test_the_pause_doubles(failures, pause_s):
    last = pod(1, "Failed", ended=100)
    assert backoff_s(job(), (last,), tally(failed=failures), after(100)) == pause_s
    assert backoff_s(job(), (last,), tally(failed=failures), after(105)) == pause_s - 5
    plan = plan_job(job(backoff_limit=99), tally(failed=failures), (last,), after(100))
    assert (plan.create, plan.requeue_after_s) == (0, pause_s)


def test_a_success_ends_the_series():
    pods = (
        pod(1, "Failed", ended=10),
        pod(2, "Failed", ended=20),
        pod(3, "Succeeded", ended=30),
    )
    assert backoff_s(job(), pods, tally(1, 2), after(31)) == 0
    assert backoff_s(job(), (*pods, pod(4, "Failed", ended=40)), tally(1, 3), after(40)) == 10


def test_when_a_pod_ended():
    assert ended_at(pod(1, "Failed", ended=5)) == after(5)
    assert ended_at(pod(1, "Failed", **GOING)) == START
    assert ended_at(pod(1, "Failed", creation_timestamp=at(3))) == after(3)
    assert ended_at(pod(1, "Failed")) is None


# --- on the real API server -------------------------------------------------------------------------------


async def submit(world: World, *, policy="Never", **spec) -> Job:
    template = PodTemplateSpec(
        spec=PodSpec(containers=(Container(name="c", image="i"),), restart_policy=policy)
    )
    made = Job(
        metadata=ObjectMeta(name="job", namespace="ns"), spec=JobSpec(template=template, **spec)
    )
    created = await world.client.create(JOB, made)
    await world.settle()
    return created


async def state(world: World) -> JobStatus:
    return (await world.client.get(JOB, KEY)).status


async def active(world: World) -> list[Pod]:
    return [
        item
        for item in await world.pods()
        if item.status.phase in ("Pending", "Running") and not item.deleting
    ]


async def end(world: World, ended: Pod, phase: str) -> None:
    held = await world.client.get(POD, ended.key)
    finished = ContainerStateTerminated(
        exit_code=int(phase == "Failed"), finished_at=format_timestamp(world.clock.wall())
    )
    container = ContainerStatus(name="c", state=ContainerState(terminated=finished))
    status = replace(held.status, phase=phase, container_statuses=(container,), conditions=())
    await world.client.update_status(POD, replace(held, status=status))
    await world.settle()


def types(status: JobStatus) -> list[tuple[str, str]]:
    return [(item.type, item.reason) for item in status.conditions]


async def reasons(world: World) -> list[str]:
    await world.settle()
    events = await world.client.list(EVENT, "ns")
    return [item.reason for item in events if item.involved_object.kind == "Job"]


def test_runs_to_completion(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            created = await submit(world)
            uid = created.metadata.uid
            (made,) = await world.pods()
            assert made.metadata.name.startswith("job-")
            assert made.metadata.labels == {
                "batch.kubernetes.io/controller-uid": uid,
                "batch.kubernetes.io/job-name": "job",
                "controller-uid": uid,
                "job-name": "job",
            }
            assert made.metadata.finalizers == (TRACKING_FINALIZER,)
            await world.run_pods()
            running = await state(world)
            assert (running.active, running.ready, running.terminating) == (1, 1, 0)
            assert running.start_time
            await end(world, made, "Succeeded")
            done = await state(world)
            assert types(done) == [
                ("SuccessCriteriaMet", "CompletionsReached"),
                ("Complete", "CompletionsReached"),
            ]
            assert (done.active, done.ready, done.succeeded, done.failed) == (0, 0, 1, 0)
            assert done.completion_time == done.conditions[1].last_transition_time
            assert done.uncounted_terminated_pods == UncountedPods()
            (kept,) = await world.pods()
            assert kept.metadata.finalizers is None
            assert await world.again() == []
            assert world.errors() == 0
            assert sorted(await reasons(world)) == ["Completed", "SuccessfulCreate"]

    fake_time(story())


def test_one_pod_costs_few_writes(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world)
            (made,) = await world.pods()
            await world.run_pods()
            world.transport.writes.clear()
            await end(world, made, "Succeeded")
            kinds = [write.split("/ns/")[1].split("/")[0] for write in world.transport.writes]
            assert kinds == ["jobs", "pods", "jobs"], world.transport.writes

    fake_time(story())


def test_several_at_once_until_enough(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, parallelism=2, completions=5)
            for expected in (2, 2, 1):
                await world.run_pods()
                now = await active(world)
                assert len(now) == expected
                for item in now:
                    await end(world, item, "Succeeded")
            done = await state(world)
            assert (done.succeeded, types(done)[-1][0]) == (5, "Complete")

    fake_time(story())


def test_failures_are_tried_again_after_a_pause_and_not_for_ever(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, backoff_limit=2)
            pauses = []
            for _ in range(3):
                await world.run_pods()
                (item,) = await active(world)
                await end(world, item, "Failed")
                ended = world.clock.monotonic()
                while not await active(world) and len(types(await state(world))) < 2:
                    await world.settle()
                pauses.append(round(world.clock.monotonic() - ended))
            failed = await state(world)
            assert types(failed) == [
                ("FailureTarget", "BackoffLimitExceeded"),
                ("Failed", "BackoffLimitExceeded"),
            ]
            assert (failed.failed, failed.completion_time) == (3, None)
            first, second, third = pauses
            assert 9 <= first <= 12, pauses
            assert 18 <= second <= 22, pauses
            assert third <= 2, pauses
            assert await world.again() == []
            assert "BackoffLimitExceeded" in await reasons(world)

    fake_time(story())


def test_the_deadline_ends_what_runs(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, active_deadline_seconds=30)
            await world.run_pods()
            while not (await state(world)).conditions:
                await world.settle()
            assert 29 <= (world.clock.wall() - START).total_seconds() <= 36
            late = await state(world)
            assert types(late) == [("FailureTarget", "DeadlineExceeded")]
            assert late.terminating == 1
            await world.run_pods()
            over = await state(world)
            assert types(over)[-1] == ("Failed", "DeadlineExceeded")
            assert (over.failed, over.terminating) == (1, 0)
            assert await world.pods() == []

    fake_time(story())


def test_suspending_ends_pods_without_counting_them(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, parallelism=2, completions=2)
            await world.run_pods()
            started = (await state(world)).start_time
            await world.client.patch(JOB, KEY, {"spec": {"suspend": True}})
            await world.settle()
            await world.run_pods()
            assert await world.pods() == []
            waiting = await state(world)
            assert (waiting.active, waiting.failed) == (0, 0)
            assert types(waiting) == [("Suspended", "JobSuspended")]
            await world.client.patch(JOB, KEY, {"spec": {"suspend": False}})
            await world.settle()
            again = await state(world)
            assert (again.active, again.conditions[0].status) == (2, "False")
            assert types(again) == [("Suspended", "JobResumed")]
            assert again.start_time > started
            assert {"Suspended", "Resumed"} <= set(await reasons(world))

    fake_time(story())


def test_a_job_that_is_born_suspended_does_not_start(fake_time):
    async def story():
        async with World() as world:
            await submit(world, suspend=True)
            waiting = await state(world)
            assert (await world.pods(), waiting.start_time) == ([], None)
            assert await world.again() == []

    fake_time(story())


def test_a_pod_that_somebody_deletes_is_replaced_and_counted(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world)
            await world.run_pods()
            (item,) = await world.pods()
            await world.client.delete(POD, item.key)
            await world.settle()
            assert (await state(world)).failed == 1
            for _ in range(12):
                await world.settle()
            await world.run_pods()
            assert [one.metadata.name != item.metadata.name for one in await world.pods()] == [True]

    fake_time(story())


def test_a_finished_pod_that_is_deleted_still_counts(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, completions=2)
            await world.run_pods()
            (item,) = await world.pods()
            held = await world.client.get(POD, item.key)
            done = replace(held, status=replace(held.status, phase="Succeeded"))
            await world.client.update_status(POD, done)
            await world.client.delete(POD, item.key, grace_s=0)
            await world.settle()
            assert (await state(world)).succeeded == 1

    fake_time(story())


def test_the_time_to_live_takes_job_and_pods(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, ttl_seconds_after_finished=20)
            await world.run_pods()
            await end(world, (await world.pods())[0], "Succeeded")
            started = world.clock.monotonic()
            while (await world.client.list(JOB, "ns")).items:
                await world.settle()
            assert 18 <= world.clock.monotonic() - started <= 22
            await world.settle()
            assert await world.pods() == []

    fake_time(story())


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_deleting_the_job_holds_nothing_back(fake_time, propagation):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, parallelism=2, completions=2)
            await world.run_pods()
            await world.client.delete(JOB, KEY, propagation=propagation)
            await world.settle()
            await world.run_pods()
            assert (await world.client.list(JOB, "ns")).items == ()
            left = await world.pods()
            assert len(left) == (2 if propagation == "Orphan" else 0)
            assert all(TRACKING_FINALIZER not in (item.metadata.finalizers or ()) for item in left)

    fake_time(story())


def test_what_refuses_pods_is_told_and_heals(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            world.transport.refuse["POST /api/v1/namespaces/ns/pods"] = Forbidden("exceeded quota")
            await submit(world, parallelism=4, completions=4)
            assert await world.pods() == []
            assert "FailedCreate" in await reasons(world)
            world.transport.refuse.clear()
            for _ in range(5):
                await world.settle()
            assert len(await world.pods()) == 4

    fake_time(story())


def test_a_status_that_was_written_before_a_crash_is_taken_up(fake_time):
    """The uid is in the status, the finalizer still there: the next pass goes on from here."""

    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world)
            await world.run_pods()
            (item,) = await world.pods()
            world.transport.refuse["PATCH /api/v1/namespaces/ns/pods"] = Forbidden("no")
            await end(world, item, "Succeeded")
            assert (await state(world)).uncounted_terminated_pods.succeeded == (item.metadata.uid,)
            assert (await state(world)).succeeded == 0
            world.transport.refuse.clear()
            for _ in range(5):
                await world.settle()
            assert (await state(world)).succeeded == 1

    fake_time(story())
