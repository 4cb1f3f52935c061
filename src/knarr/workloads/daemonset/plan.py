"""Decides one step of a DaemonSet; pure (semantics of Kubernetes ``pkg/controller/daemon``)."""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.apps.daemonset import ROLLING, DaemonSet, DaemonSetSpec, DaemonSetStatus
from knarr.resources.core.node import Node
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec, Toleration
from knarr.workloads import pods as pods_of
from knarr.workloads.revisions import HASH_LABEL
from knarr.workloads.scheduler.taints import untolerated

_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        create: names of the nodes that get a Pod.
        delete: Pods to end.
        status: of the DaemonSet, before this step.
        requeue_after_s: when to look again although nothing happened.
    """

    create: tuple[str, ...]
    delete: tuple[Pod, ...]
    status: DaemonSetStatus
    requeue_after_s: float | None


def make_pod(owner: DaemonSet, revision: str, node: str) -> Pod:
    """The Pod of one node: it is bound from the beginning and stays while the node is cordoned.

    Args:
        owner: its DaemonSet.
        revision: hash of the template's revision.
        node: name of the node.
    """
    spec = owner.spec or DaemonSetSpec()
    template = spec.template or PodTemplateSpec()
    metadata, pod_spec = template.metadata or ObjectMeta(), template.spec or PodSpec()
    added = tuple(
        Toleration(key=key, operator="Exists", effect=effect) for key, effect in _TOLERATED
    )
    labels = {**(metadata.labels or {}), HASH_LABEL: revision}
    return Pod(
        metadata=ObjectMeta(
            generate_name=f"{owner.metadata.name}-",
            namespace=owner.metadata.namespace,
            labels={**labels, "pod-template-generation": str(owner.metadata.generation)},
            annotations=metadata.annotations,
            finalizers=metadata.finalizers,
            owner_references=(owner_reference(owner),),
        ),
        spec=replace(
            pod_spec,
            node_name=node,
            tolerations=(
                *pod_spec.tolerations,
                *(one for one in added if one not in pod_spec.tolerations),
            ),
        ),
    )


def wants(owner: DaemonSet, node: Node) -> bool:
    """Whether a node should have a Pod: its labels match, and its taints are tolerated."""
    if node.deleting:
        return False
    template = owner.spec.template if owner.spec else None
    selector = (template.spec.node_selector if template and template.spec else None) or {}
    if not selector.items() <= dict(node.metadata.labels or {}).items():
        return False
    likely = make_pod(owner, "", node.metadata.name)
    return untolerated(likely, node.spec.taints if node.spec else ()) is None


def plan_daemon_set(
    owner: DaemonSet,
    nodes: Iterable[Node],
    pods: Sequence[Pod],
    revision: str,
    now: dt.datetime,
) -> Plan:
    """One step.

    Args:
        owner: defaulted and valid, not being deleted.
        nodes: all there are.
        pods: those that it controls.
        revision: hash of the template's revision.
        now: the current time.
    """
    wanted = {node.metadata.name for node in nodes if wants(owner, node)}
    by_node = _by_node(pods)
    create = tuple(sorted(name for name in wanted if not by_node.get(name)))
    delete: list[Pod] = []
    for name, found in by_node.items():
        ended = [pod for pod in found if pods_of.is_finished(pod)]
        alive = [pod for pod in found if not pods_of.is_finished(pod)]
        keep = 1 if name in wanted else 0
        oldest_first = sorted(alive, key=lambda pod: pod.metadata.creation_timestamp or "")
        delete += [pod for pod in (*ended, *oldest_first[keep:]) if not pod.deleting]
    if not delete:
        delete = _outdated(owner, wanted, by_node, revision, now)
    spec = owner.spec or DaemonSetSpec()
    waits = [pods_of.available_in_s(pod, spec.min_ready_seconds, now) for pod in pods]
    return Plan(
        create,
        tuple(delete),
        compute_status(owner, wanted, pods, revision, now),
        min((wait for wait in waits if wait), default=None),
    )


def _by_node(pods: Sequence[Pod]) -> dict[str, list[Pod]]:
    result: dict[str, list[Pod]] = {}
    for pod in pods:
        result.setdefault(pods_of.node_of(pod), []).append(pod)
    return result


def _available(pod: Pod, spec: DaemonSetSpec, now: dt.datetime) -> bool:
    return not pod.deleting and pods_of.available_in_s(pod, spec.min_ready_seconds, now) == 0


def _outdated(
    owner: DaemonSet,
    wanted: set[str],
    by_node: Mapping[str, list[Pod]],
    revision: str,
    now: dt.datetime,
) -> list[Pod]:
    """Pods of older templates that may be replaced now; those that do not work go first."""
    spec = owner.spec or DaemonSetSpec()
    strategy = spec.update_strategy
    if strategy is None or strategy.type != ROLLING:
        return []
    pods = [by_node[name][0] for name in wanted if by_node.get(name)]
    bound = strategy.rolling_update.max_unavailable if strategy.rolling_update else 1
    missing = len(wanted) - sum(_available(pod, spec, now) for pod in pods)
    budget = max(1, _share(bound, len(wanted))) - missing
    old = [pod for pod in pods if not pod.deleting and pod.metadata.label(HASH_LABEL) != revision]
    broken = [pod for pod in old if not _available(pod, spec, now)]
    working = [pod for pod in old if _available(pod, spec, now)]
    return [*broken, *working[: max(0, budget)]]


def _share(value: int | str | None, whole: int) -> int:
    if isinstance(value, str):
        return math.ceil(int(value.removesuffix("%")) * whole / 100)
    return 1 if value is None else value


def compute_status(
    owner: DaemonSet, wanted: set[str], pods: Sequence[Pod], revision: str, now: dt.datetime
) -> DaemonSetStatus:
    """The status that the Pods justify; equal to the last one when nothing changed."""
    spec, last = owner.spec or DaemonSetSpec(), owner.status or DaemonSetStatus()
    alive = {pods_of.node_of(pod): pod for pod in pods if not pods_of.is_finished(pod)}
    right = [pod for name, pod in alive.items() if name in wanted]
    available = sum(_available(pod, spec, now) for pod in right)
    return DaemonSetStatus(
        current_number_scheduled=len(right),
        number_misscheduled=len(alive) - len(right),
        desired_number_scheduled=len(wanted),
        number_ready=sum(pods_of.is_ready(pod) and not pod.deleting for pod in right),
        observed_generation=owner.metadata.generation,
        updated_number_scheduled=sum(
            pod.metadata.label(HASH_LABEL) == revision and not pod.deleting for pod in right
        ),
        number_available=available,
        number_unavailable=len(wanted) - available,
        collision_count=last.collision_count,
        conditions=last.conditions,
    )
