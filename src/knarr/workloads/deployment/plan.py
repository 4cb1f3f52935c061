"""Decides one step of a Deployment; pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from knarr.resources.apps.deployment import Deployment, DeploymentStatus
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.workloads.deployment.resources import (
    REVISION_ANNOTATION,
    copied_annotations,
    make_replica_set,
    revision_of,
    same_template,
)
from knarr.workloads.deployment.rollout import (
    Bounds,
    Group,
    bounds_of,
    plan_paused,
    plan_recreate,
    plan_rolling,
)
from knarr.workloads.deployment.status import Observed, compute_status, deadline_in_s

_DEFAULT_HISTORY = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write for a Deployment.

    Attributes:
        create: the ReplicaSet of the current template, when it is missing.
        scale: ``spec.replicas`` by name of ReplicaSet, only those that change.
        current: name of the ReplicaSet of the template as it is now; empty before it exists.
        annotate: annotations that the current ReplicaSet must get: its revision after a rollback, and what
            was written on the Deployment since (``kubectl rollout history`` shows the cause of a change).
        delete: names of old ReplicaSets beyond the history limit.
        revision: number of the current rollout; empty while there is none.
        status: of the Deployment.
        requeue_after_s: when to look again for the progress deadline.
    """

    create: ReplicaSet | None
    scale: Mapping[str, int]
    current: str
    annotate: Mapping[str, str]
    delete: tuple[str, ...]
    revision: str
    status: DeploymentStatus
    requeue_after_s: float | None


def plan_deployment(
    deployment: Deployment,
    replica_sets: tuple[ReplicaSet, ...],
    now: dt.datetime,
    *,
    old_pods: bool,
) -> Plan:
    """One step towards the Deployment's spec.

    Args:
        deployment: defaulted and valid.
        replica_sets: those it controls, none of them being deleted.
        now: the current time.
        old_pods: whether Pods of other templates exist, terminating ones included; only Recreate asks.
    """
    spec = deployment.spec
    if spec is None:
        raise ValueError(f"Deployment {deployment.key} has no spec")
    by_age = sorted(
        replica_sets,
        key=lambda item: (item.metadata.creation_timestamp or "", revision_of(item), item.key),
    )
    new = next((item for item in by_age if same_template(deployment, item)), None)
    old = tuple(item for item in by_age if item is not new)
    bounds = bounds_of(spec)
    revision = _revision(deployment, new, old)
    create, scale = _replicas(deployment, new, old, bounds, revision, old_pods=old_pods)
    status = compute_status(
        Observed(
            deployment=deployment,
            new=new,
            old=old,
            bounds=bounds,
            created=create.metadata.name if create is not None else "",
            now=now,
        )
    )
    annotate: dict[str, str] = {}
    if new is not None and not spec.paused:
        present = new.metadata.annotations or {}
        wanted = copied_annotations(deployment) | {REVISION_ANNOTATION: revision}
        annotate = {name: text for name, text in wanted.items() if present.get(name) != text}
    return Plan(
        create=create,
        scale=scale,
        current=new.metadata.name if new is not None else "",
        annotate=annotate,
        delete=_history(deployment, new, old, status, bounds),
        revision=revision,
        status=status,
        requeue_after_s=deadline_in_s(status, spec.progress_deadline_seconds, now),
    )


def _revision(deployment: Deployment, new: ReplicaSet | None, old: tuple[ReplicaSet, ...]) -> str:
    if deployment.spec is not None and deployment.spec.paused:
        return deployment.metadata.annotation(REVISION_ANNOTATION)
    newest_old = max((revision_of(item) for item in old), default=0)
    if new is not None and revision_of(new) > newest_old:
        return str(revision_of(new))
    return str(newest_old + 1)


def _group(replica_set: ReplicaSet) -> Group:
    return Group(
        name=replica_set.metadata.name,
        wanted=(replica_set.spec.replicas or 0) if replica_set.spec else 0,
        available=replica_set.status.available_replicas if replica_set.status else 0,
    )


def _replicas(
    deployment: Deployment,
    new: ReplicaSet | None,
    old: tuple[ReplicaSet, ...],
    bounds: Bounds,
    revision: str,
    *,
    old_pods: bool,
) -> tuple[ReplicaSet | None, dict[str, int]]:
    spec = deployment.spec
    groups = tuple(_group(item) for item in old)
    if spec is not None and spec.paused:
        return None, plan_paused(_group(new) if new is not None else None, groups, bounds)
    newcomer = _group(new) if new is not None else Group("", 0, 0)
    if spec is not None and spec.strategy is not None and spec.strategy.type == "Recreate":
        changes = plan_recreate(newcomer, groups, bounds, old_pods=old_pods)
        if new is None and (old_pods or any(group.wanted for group in groups)):
            return None, changes
    else:
        changes = plan_rolling(newcomer, groups, bounds)
    if new is not None:
        return None, changes
    first = changes.pop("", 0)
    return make_replica_set(deployment, first, int(revision)), changes


def _history(
    deployment: Deployment,
    new: ReplicaSet | None,
    old: tuple[ReplicaSet, ...],
    status: DeploymentStatus,
    bounds: Bounds,
) -> tuple[str, ...]:
    """Old ReplicaSets that nothing needs any more: the rollout is done and they are empty."""
    limit = deployment.spec.revision_history_limit if deployment.spec else None
    done = new is not None and status.updated_replicas == bounds.replicas == status.replicas
    if not done:
        return ()
    idle = [item for item in old if _idle(item)]
    idle.sort(key=revision_of)
    surplus = len(idle) - (_DEFAULT_HISTORY if limit is None else limit)
    return tuple(item.metadata.name for item in idle[: max(0, surplus)])


def _idle(replica_set: ReplicaSet) -> bool:
    spec, status = replica_set.spec, replica_set.status
    return (
        spec is not None
        and not spec.replicas
        and status is not None
        and not status.replicas
        and status.observed_generation >= replica_set.metadata.generation
    )
