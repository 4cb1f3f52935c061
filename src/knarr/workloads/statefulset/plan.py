"""Decides one step of a StatefulSet; pure (semantics of Kubernetes ``pkg/controller/statefulset``)."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knarr.resources.apps.statefulset import (
    PARALLEL,
    ROLLING,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetStatus,
)
from knarr.resources.core.pod import Pod
from knarr.workloads import pods as pods_of
from knarr.workloads.revisions import HASH_LABEL
from knarr.workloads.statefulset.resources import ordinal_of


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with Pods.

    Attributes:
        create: numbers of the Pods to make, with whether they get the new template.
        delete: Pods to end, in this order.
        requeue_after_s: when to look again although nothing happened.
    """

    create: tuple[tuple[int, bool], ...] = ()
    delete: tuple[Pod, ...] = ()
    requeue_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """The Pods of a StatefulSet by number.

    Attributes:
        wanted: the numbers that should exist, ascending.
        pods: all Pods that it controls.
        update: hash of the new template.
    """

    wanted: range
    pods: Mapping[int, Pod]
    update: str

    @property
    def condemned(self) -> tuple[Pod, ...]:
        """Pods beyond the wanted numbers, the highest first."""
        return tuple(
            pod for number, pod in sorted(self.pods.items(), reverse=True)
            if number not in self.wanted
        )  # fmt: skip


def members_of(owner: StatefulSet, pods: Sequence[Pod], update: str) -> Members:
    """Sort Pods by their numbers."""
    spec = owner.spec or StatefulSetSpec()
    start = spec.ordinals.start if spec.ordinals else 0
    replicas = 1 if spec.replicas is None else spec.replicas
    numbered = {ordinal_of(owner, pod): pod for pod in pods}
    known = {number: pod for number, pod in numbered.items() if number is not None}
    return Members(range(start, start + replicas), known, update)


def is_updated(pod: Pod, update: str) -> bool:
    """Whether a Pod was made from the new template."""
    return pod.metadata.label(HASH_LABEL) == update


def _available(pod: Pod, seconds: int, now: dt.datetime) -> bool:
    return not pod.deleting and pods_of.available_in_s(pod, seconds, now) == 0


def plan_stateful_set(owner: StatefulSet, members: Members, now: dt.datetime) -> Plan:
    """One step towards the wanted Pods.

    Args:
        owner: defaulted and valid, not being deleted.
        members: its Pods.
        now: the current time.
    """
    spec = owner.spec or StatefulSetSpec()
    parallel = spec.pod_management_policy == PARALLEL
    create: list[tuple[int, bool]] = []
    delete: list[Pod] = []
    settled = True
    for number in members.wanted:
        pod = members.pods.get(number)
        if pod is not None and pod.deleting and parallel:
            settled = False
            continue
        if pod is None:
            create.append((number, _takes_update(spec, number)))
        elif pods_of.is_finished(pod) and not pod.deleting:
            delete.append(pod)
        elif _available(pod, spec.min_ready_seconds, now):
            continue
        settled = False
        if not parallel:
            break
    delete += _scale_down(members, parallel=parallel, settled=settled)
    if settled and not delete:
        delete += _update(spec, members, now)
    return Plan(tuple(create), tuple(delete), _next_look_s(spec, members, now))


def _takes_update(spec: StatefulSetSpec, number: int) -> bool:
    strategy = spec.update_strategy
    rolling = strategy.rolling_update if strategy else None
    start = spec.ordinals.start if spec.ordinals else 0
    return number >= start + ((rolling.partition or 0) if rolling else 0)


def _scale_down(members: Members, *, parallel: bool, settled: bool) -> list[Pod]:
    """Pods beyond the wanted numbers: all at once, or one after the other once the rest is well."""
    condemned = members.condemned
    if parallel:
        return [pod for pod in condemned if not pod.deleting]
    if not settled or not condemned or any(pod.deleting for pod in condemned):
        return []
    return [condemned[0]]


def _update(spec: StatefulSetSpec, members: Members, now: dt.datetime) -> list[Pod]:
    """The next Pod of the old template, from the highest number down to the partition."""
    strategy = spec.update_strategy
    if strategy is None or strategy.type != ROLLING:
        return []
    for number in reversed(members.wanted):
        pod = members.pods.get(number)
        if pod is None or not _takes_update(spec, number):
            return []
        if not is_updated(pod, members.update):
            return [] if pod.deleting else [pod]
        if not _available(pod, spec.min_ready_seconds, now):
            return []
    return []


def _next_look_s(spec: StatefulSetSpec, members: Members, now: dt.datetime) -> float | None:
    if not spec.min_ready_seconds:
        return None
    waits = [
        pods_of.available_in_s(pod, spec.min_ready_seconds, now) for pod in members.pods.values()
    ]
    return min((wait for wait in waits if wait), default=None)


def compute_status(
    owner: StatefulSet, members: Members, update_name: str, current_hash: str, now: dt.datetime
) -> StatefulSetStatus:
    """The status that the Pods justify; equal to the last one when nothing changed.

    Args:
        owner: with its last status.
        members: its Pods.
        update_name: name of the new template's revision.
        current_hash: hash of the revision that ``status.currentRevision`` names.
        now: the current time.
    """
    spec, last = owner.spec or StatefulSetSpec(), owner.status or StatefulSetStatus()
    pods = [pod for pod in members.pods.values() if not pods_of.is_finished(pod)]
    live = [pod for pod in pods if not pod.deleting]
    updated = sum(is_updated(pod, members.update) for pod in live)
    ready = sum(pods_of.is_ready(pod) for pod in pods)
    current_name = last.current_revision or update_name
    done = updated == len(members.wanted) == ready == len(pods)
    if done and spec.update_strategy is not None and spec.update_strategy.type == ROLLING:
        current_name = update_name
    moved = current_name == update_name
    return StatefulSetStatus(
        observed_generation=owner.metadata.generation,
        replicas=len(pods),
        ready_replicas=ready,
        current_replicas=(updated if moved else sum(is_updated(pod, current_hash) for pod in live)),
        updated_replicas=updated,
        current_revision=current_name,
        update_revision=update_name,
        collision_count=last.collision_count,
        conditions=last.conditions,
        available_replicas=sum(_available(pod, spec.min_ready_seconds, now) for pod in pods),
    )
