"""A Job over its life: Pods end and vanish at random, the controller is killed anywhere, and still no
Pod is counted twice or lost, never too many run, and the Job comes to its end."""

import datetime as dt
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from knarr.kits.clock import format_timestamp
from knarr.meta.objects import ObjectMeta
from knarr.resources.batch.jobspec import Job, JobSpec, JobStatus
from knarr.resources.core.pod import Pod, PodStatus
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.workloads.job.plan import active_pods, is_over, plan_job
from knarr.workloads.job.resources import make_pod
from knarr.workloads.job.status import compute_status, counted
from knarr.workloads.job.tracking import fate_of, is_tracked, tally_of

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Killed(Exception):
    """The controller died here."""


class World:
    """What the API server would hold; the controller's steps in the order of the reconciler."""

    def __init__(self, spec: JobSpec, rng: random.Random, *, kills: float) -> None:
        template = PodTemplateSpec(spec=PodSpec(restart_policy="Never"))
        self.job = Job(
            api_version="batch/v1",
            kind="Job",
            metadata=ObjectMeta(name="job", namespace="ns", uid="u"),
            spec=replace(spec, template=template),
        )
        self.pods: dict[str, Pod] = {}
        self.rng = rng
        self.kills = kills
        self.now = START
        self.made = 0
        self.fates: dict[str, str] = {}
        self.dropped: set[str] = set()
        self.most_active = 0

    def maybe_die(self) -> None:
        if self.rng.random() < self.kills:
            raise Killed

    def controller(self) -> None:
        try:
            self.step()
        except Killed:
            return

    def step(self) -> None:
        tally = tally_of(self.job, tuple(self.pods.values()))
        if tally.untrack:
            self.job = replace(self.job, status=counted(self.job, tally, self.now))
            self.maybe_die()
            for pod in tally.untrack:
                self.untrack(pod.metadata.uid)
                self.maybe_die()
            tally = tally_of(self.job, tuple(self.pods.values()))
        plan = plan_job(self.job, tally, tuple(self.pods.values()), self.now)
        for _ in range(plan.create):
            self.create()
            self.maybe_die()
        for pod in plan.drop:
            self.dropped.add(pod.metadata.uid)
            self.untrack(pod.metadata.uid)
            self.maybe_die()
            self.delete(pod.metadata.uid)
        for pod in plan.end:
            self.delete(pod.metadata.uid)
            self.maybe_die()
        pods = tuple(self.pods.values())
        self.most_active = max(self.most_active, len(active_pods(pods)))
        status = compute_status(self.job, tally_of(self.job, pods), pods, plan.verdict, self.now)
        self.job = replace(self.job, status=status)

    def create(self) -> None:
        self.made += 1
        uid = f"p{self.made}"
        pod = make_pod(self.job)
        metadata = replace(
            pod.metadata, name=uid, uid=uid, creation_timestamp=format_timestamp(self.now)
        )
        self.pods[uid] = replace(pod, metadata=metadata, status=PodStatus(phase="Pending"))

    def untrack(self, uid: str) -> None:
        pod = self.pods.get(uid)
        if pod is None:
            return
        fate = fate_of(pod, self.job)
        if uid not in self.dropped:
            assert fate, "only what ended is freed"
            assert self.fates.setdefault(uid, fate) == fate
        self.pods[uid] = replace(pod, metadata=replace(pod.metadata, finalizers=None))
        self.sweep(uid)

    def delete(self, uid: str) -> None:
        pod = self.pods.get(uid)
        if pod is None:
            return
        metadata = replace(
            pod.metadata,
            deletion_timestamp=format_timestamp(self.now),
            deletion_grace_period_seconds=30,
        )
        self.pods[uid] = replace(pod, metadata=metadata)

    def sweep(self, uid: str) -> None:
        """The API server removes what is deleted, let go and not held."""
        pod = self.pods[uid]
        released = pod.deleting and not pod.metadata.deletion_grace_period_seconds
        if released and not is_tracked(pod):
            del self.pods[uid]

    # --- the node and people ----------------------------------------------------------------------------

    def happen(self, *, kind: bool) -> None:
        for uid, pod in list(self.pods.items()):
            phase = pod.status.phase
            dice = self.rng.random()
            if pod.deleting:
                if dice < 0.7:
                    metadata = replace(pod.metadata, deletion_grace_period_seconds=0)
                    self.pods[uid] = replace(pod, metadata=metadata)
                    self.sweep(uid)
            elif phase == "Pending" and dice < 0.8:
                self.pods[uid] = replace(pod, status=PodStatus(phase="Running"))
            elif phase == "Running":
                bad = 0.0 if kind else 0.15
                if dice < bad:
                    self.pods[uid] = replace(pod, status=PodStatus(phase="Failed"))
                elif dice < 0.6:
                    self.pods[uid] = replace(pod, status=PodStatus(phase="Succeeded"))
                elif not kind and dice < 0.7:
                    self.delete(uid)
            elif phase in ("Succeeded", "Failed") and dice < 0.2:
                # Somebody cleans up; the finalizer keeps the Pod until it is counted.
                metadata = replace(
                    pod.metadata,
                    deletion_timestamp=format_timestamp(self.now),
                    deletion_grace_period_seconds=0,
                )
                self.pods[uid] = replace(pod, metadata=metadata)
                self.sweep(uid)

    def count(self, fate: str) -> int:
        return sum(each == fate for each in self.fates.values())


SPECS = st.builds(
    JobSpec,
    parallelism=st.integers(1, 5),
    completions=st.one_of(st.none(), st.integers(0, 8)),
    backoff_limit=st.integers(0, 6),
    pod_replacement_policy=st.sampled_from(["TerminatingOrFailed", "Failed"]),
)


def check(world: World) -> None:
    status = world.job.status or JobStatus()
    assert world.most_active <= world.job.spec.parallelism
    uncounted = status.uncounted_terminated_pods
    waiting = set(uncounted.succeeded) | set(uncounted.failed) if uncounted else set()
    assert status.succeeded <= world.count("succeeded") <= status.succeeded + len(waiting)
    assert status.failed <= world.count("failed") <= status.failed + len(waiting)


@settings(max_examples=150, deadline=None)
@given(SPECS, st.integers(), st.sampled_from([0.0, 0.1, 0.3]))
def test_a_job_comes_to_its_end_and_counts_right(spec, seed, kills):
    world = World(spec, random.Random(seed), kills=kills)
    for turn in range(400):
        world.happen(kind=False)
        world.controller()
        check(world)
        world.now += dt.timedelta(seconds=60)
        if turn > 300:
            world.kills = 0.0
        if is_over(world.job):
            break
    assert is_over(world.job), world.job.status
    world.kills = 0.0
    status = world.job.status
    assert (status.active, status.terminating) == (0, 0)
    assert (status.succeeded, status.failed) == (world.count("succeeded"), world.count("failed"))
    types = {item.type for item in status.conditions}
    if "Failed" in types:
        assert "FailureTarget" in types
        assert status.failed > spec.backoff_limit
        assert status.completion_time is None
    else:
        assert {"SuccessCriteriaMet", "Complete"} <= types
        assert status.completion_time is not None
        if spec.completions is not None:
            assert status.succeeded == spec.completions
        else:
            assert status.succeeded >= 1
    before = (world.job, dict(world.pods))
    world.step()
    assert (world.job, world.pods) == before


@settings(max_examples=80, deadline=None)
@given(SPECS, st.integers(), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12))
def test_scaling_and_suspending_never_count(spec, seed, changes):
    """Pods that go because fewer are wanted are neither successes nor failures."""
    world = World(replace(spec, completions=30), random.Random(seed), kills=0.0)
    for parallelism, suspend in changes:
        changed = replace(world.job.spec, parallelism=parallelism, suspend=suspend)
        world.job = replace(world.job, spec=changed)
        world.most_active = 0
        world.step()
        assert world.most_active <= (0 if suspend else parallelism)
        world.happen(kind=True)
        check(world)
        world.now += dt.timedelta(seconds=5)
    assert (world.job.status or JobStatus()).failed == 0
    world.job = replace(world.job, spec=replace(world.job.spec, parallelism=3, suspend=False))
    for _ in range(400):
        world.step()
        world.happen(kind=True)
        world.now += dt.timedelta(seconds=5)
    assert is_over(world.job)
    assert (world.job.status.succeeded, world.job.status.failed) == (30, 0)


@given(SPECS, st.integers())
def test_the_second_pass_changes_nothing(spec, seed):
    world = World(spec, random.Random(seed), kills=0.0)
    for _ in range(6):
        world.happen(kind=False)
        world.step()
        for _ in range(4):
            world.step()
        before = (world.job, dict(world.pods))
        world.step()
        assert (world.job, world.pods) == before
        world.now += dt.timedelta(seconds=7)
