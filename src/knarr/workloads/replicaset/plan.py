"""Decides what a ReplicaSet does about its Pods; pure.

The order in which surplus Pods go is that of Kubernetes (``ActivePodsWithRanks`` of
``pkg/controller/controller_utils.go``). Knarr's own rule: a Pod that the node agent activated for a
request (``docs/design.md`` 3.5) is left alone for 30 s, because the scale that asks for it may come later.
"""

import datetime as dt
from dataclasses import dataclass

from knarr.kits.clock import parse_timestamp
from knarr.meta.selectors import LabelSelector as Matcher
from knarr.meta.selectors import Operator, Requirement
from knarr.resources.apps.replicaset import ReplicaSet, ReplicaSetStatus
from knarr.resources.core.pod import Pod
from knarr.resources.core.references import Condition, LabelSelector
from knarr.workloads import pods as pods_of
from knarr.workloads.conditions import Conditions, put, without

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
ACTIVATED_ANNOTATION = "node.knarr.dev/activated"
ACTIVATION_GRACE_S = 30.0
FINISHED_LIMIT = 3
"""Finished Pods that are kept for people to look at; older ones are deleted."""

_OPERATORS: dict[str, Operator] = {
    "In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent",
}  # fmt: skip
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with Pods.

    Attributes:
        create: number of Pods to make.
        delete: Pods to end, in this order.
        release: Pods whose labels left the selector: they lose their owner and live on.
        requeue_after_s: when to look again although nothing happened.
    """

    create: int
    delete: tuple[Pod, ...]
    release: tuple[Pod, ...]
    requeue_after_s: float | None


def matcher_of(selector: LabelSelector | None) -> Matcher:
    """``metav1.LabelSelector`` as something that matches; None matches everything."""
    if selector is None:
        return Matcher()
    equal = [
        Requirement(key, "in", frozenset({value}))
        for key, value in (selector.match_labels or {}).items()
    ]
    expressions = [
        Requirement(item.key, _OPERATORS[item.operator], frozenset(item.values))
        for item in selector.match_expressions
    ]
    return Matcher((*equal, *expressions))


def plan_replica_set(replica_set: ReplicaSet, pods: tuple[Pod, ...], now: dt.datetime) -> Plan:
    """One step towards ``spec.replicas``.

    Args:
        replica_set: defaulted and valid.
        pods: those it controls, in any state.
        now: the current time.
    """
    spec = replica_set.spec
    wanted = 1 if spec is None or spec.replicas is None else spec.replicas
    matcher = matcher_of(spec.selector if spec is not None else None)
    release = tuple(
        pod for pod in pods if not pod.deleting and not matcher.matches(pod.metadata.labels)
    )
    released = {pod.key for pod in release}
    own = [pod for pod in pods if pod.key not in released]
    active = [pod for pod in own if pods_of.is_active(pod)]
    surplus = len(active) - wanted
    protected = {pod.key: _protected_s(pod, now) for pod in active}
    free = sorted(
        (pod for pod in active if not protected[pod.key]), key=lambda pod: _rank(pod, now)
    )
    doomed = tuple(free[: max(0, surplus)])
    waits = [_ready_wait_s(replica_set, active, now)]
    if surplus > len(doomed):
        waits.append(min(delay for delay in protected.values() if delay))
    return Plan(
        create=max(0, -surplus),
        delete=(*doomed, *_old_finished(own)),
        release=release,
        requeue_after_s=min((delay for delay in waits if delay), default=None),
    )


def _protected_s(pod: Pod, now: dt.datetime) -> float:
    """Seconds for which an activated Pod is still left alone; 0 when it is like any other."""
    text = pod.metadata.annotation(ACTIVATED_ANNOTATION)
    if not text:
        return 0.0
    try:
        since = parse_timestamp(text)
    except ValueError:
        return 0.0
    age_s = (now - since).total_seconds()
    # A moment in the future (a clock was set back) must not protect for ever.
    return min(ACTIVATION_GRACE_S, max(0.0, ACTIVATION_GRACE_S - age_s))


def _rank(pod: Pod, now: dt.datetime) -> tuple[object, ...]:
    """Sort key: the Pod that may go first comes first."""
    ready = pods_of.is_ready(pod)
    since = pods_of.ready_since(pod)
    ready_for_s = (now - since).total_seconds() if since is not None else 0.0
    created = pod.metadata.creation_timestamp
    age_s = (now - parse_timestamp(created)).total_seconds() if created else 0.0
    return (
        bool(pods_of.node_of(pod)),
        _PHASE_RANK.get(pods_of.phase_of(pod), 1),
        ready,
        _deletion_cost(pod),
        ready_for_s,
        -pods_of.restarts_of(pod),
        age_s,
        pod.metadata.name,
    )


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotation(DELETION_COST_ANNOTATION) or 0)
    except ValueError:
        return 0


def _old_finished(pods: list[Pod]) -> tuple[Pod, ...]:
    finished = [pod for pod in pods if pods_of.is_finished(pod) and not pod.deleting]
    finished.sort(key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name))
    return tuple(finished[: max(0, len(finished) - FINISHED_LIMIT)])


def _ready_wait_s(replica_set: ReplicaSet, active: list[Pod], now: dt.datetime) -> float | None:
    """Seconds until the next ready Pod counts as available."""
    seconds = replica_set.spec.min_ready_seconds if replica_set.spec else 0
    waits = [pods_of.available_in_s(pod, seconds, now) for pod in active] if seconds else []
    return min((wait for wait in waits if wait), default=None)


def compute_status(
    replica_set: ReplicaSet, pods: tuple[Pod, ...], now: dt.datetime, failure: Condition | None
) -> ReplicaSetStatus:
    """The status that the Pods justify; equal to the last one when nothing changed.

    Args:
        replica_set: with its last status.
        pods: those it controls, in any state.
        now: the current time.
        failure: why Pods could not be made or ended in this pass; None when they could.
    """
    spec = replica_set.spec
    matcher = matcher_of(spec.selector if spec is not None else None)
    template = spec.template if spec is not None else None
    labels = dict((template.metadata.labels or {}) if template and template.metadata else {})
    active = [
        pod for pod in pods if pods_of.is_active(pod) and matcher.matches(pod.metadata.labels)
    ]
    min_ready_s = spec.min_ready_seconds if spec is not None else 0
    conditions: Conditions = replica_set.status.conditions if replica_set.status else ()
    conditions = (
        without(conditions, "ReplicaFailure") if failure is None else put(conditions, failure)
    )
    return ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=sum(
            labels.items() <= dict(pod.metadata.labels or {}).items() for pod in active
        ),
        ready_replicas=sum(pods_of.is_ready(pod) for pod in active),
        available_replicas=sum(
            pods_of.available_in_s(pod, min_ready_s, now) == 0 for pod in active
        ),
        observed_generation=replica_set.metadata.generation,
        conditions=conditions,
    )
