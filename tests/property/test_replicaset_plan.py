"""The ReplicaSet's plan never overshoots, never touches what is protected, and is done in one step."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from knarr.kits.clock import format_timestamp
from knarr.meta.objects import ObjectMeta
from knarr.resources.apps.replicaset import ReplicaSet, ReplicaSetSpec
from knarr.resources.core.pod import Pod, PodStatus
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.workloads.pods import is_active, is_ready
from knarr.workloads.replicaset.plan import ACTIVATION_GRACE_S, compute_status, plan_replica_set

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def moment(seconds: float) -> str:
    return format_timestamp(NOW + dt.timedelta(seconds=seconds))


@st.composite
def pods(draw):
    made = []
    for number in range(draw(st.integers(0, 8))):
        ready = draw(st.booleans())
        annotations = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "controller.kubernetes.io/pod-deletion-cost": st.sampled_from(
                        ["-100", "0", "5", "?"]
                    ),
                    "node.knarr.dev/activated": st.sampled_from(
                        [moment(-60), moment(-10), "never"]
                    ),
                },
            )
        )
        metadata = ObjectMeta(
            name=f"p{number}",
            namespace="ns",
            labels={"app": draw(st.sampled_from(["x", "x", "x", "other"]))},
            annotations=annotations,
            creation_timestamp=moment(-draw(st.integers(0, 1000))),
            deletion_timestamp=moment(30) if draw(st.integers(0, 4)) == 0 else None,
        )
        phase = draw(st.sampled_from(["Pending", "Running", "Running", "Failed", "Succeeded"]))
        condition = Condition(
            type="Ready", status="True" if ready else "False", last_transition_time=moment(-5)
        )
        made.append(
            Pod(
                metadata=metadata,
                spec=PodSpec(node_name=draw(st.sampled_from(["", "node"]))),
                status=PodStatus(phase=phase, conditions=(condition,)),
            )
        )
    return tuple(made)


def replica_set(replicas: int) -> ReplicaSet:
    selector = LabelSelector(match_labels={"app": "x"})
    return ReplicaSet(
        metadata=ObjectMeta(name="rs", namespace="ns", generation=3),
        spec=ReplicaSetSpec(replicas=replicas, selector=selector),
    )


def protected(pod: Pod) -> bool:
    return pod.metadata.annotation("node.knarr.dev/activated") == moment(-10)


@given(pods(), st.integers(0, 6))
def test_a_plan_never_overshoots(world, replicas):
    plan = plan_replica_set(replica_set(replicas), world, NOW)
    own = [pod for pod in world if pod.metadata.labels["app"] == "x"]
    active = [pod for pod in own if is_active(pod)]
    doomed = [pod for pod in plan.delete if is_active(pod)]

    assert plan.create == max(0, replicas - len(active))
    assert not (plan.create and doomed)
    assert len(doomed) <= max(0, len(active) - replicas)
    assert not any(protected(pod) for pod in doomed)
    left = len(active) - len(doomed) + plan.create
    if left > replicas:
        assert plan.requeue_after_s is not None
        assert 0 < plan.requeue_after_s <= ACTIVATION_GRACE_S
    else:
        assert left == replicas
    assert not any(pod.deleting for pod in (*plan.delete, *plan.release))
    assert {pod.key for pod in plan.delete}.isdisjoint(pod.key for pod in plan.release)


@given(pods(), st.integers(0, 6))
def test_the_second_pass_does_nothing(world, replicas):
    plan = plan_replica_set(replica_set(replicas), world, NOW)
    touched = {pod.key for pod in (*plan.delete, *plan.release)}
    made = tuple(
        Pod(metadata=ObjectMeta(name=f"new{number}", namespace="ns", labels={"app": "x"}))
        for number in range(plan.create)
    )
    again = plan_replica_set(
        replica_set(replicas), (*(pod for pod in world if pod.key not in touched), *made), NOW
    )

    assert (again.create, again.delete, again.release) == (0, (), ())


@given(pods(), st.integers(0, 6))
def test_a_ready_pod_never_goes_before_one_that_is_not(world, replicas):
    plan = plan_replica_set(replica_set(replicas), world, NOW)
    doomed = {pod.key for pod in plan.delete}
    kept = [
        pod
        for pod in world
        if is_active(pod)
        and pod.metadata.labels["app"] == "x"
        and pod.key not in doomed
        and not protected(pod)
    ]
    if any(is_active(pod) and serving(pod) for pod in plan.delete):
        assert all(serving(pod) for pod in kept)


def serving(pod: Pod) -> bool:
    return bool(pod.spec.node_name) and pod.status.phase == "Running" and is_ready(pod)


@given(pods(), st.integers(0, 6))
def test_the_status_counts_add_up(world, replicas):
    status = compute_status(replica_set(replicas), world, NOW, None)

    assert 0 <= status.available_replicas <= status.ready_replicas <= status.replicas <= len(world)
    assert status.observed_generation == 3
