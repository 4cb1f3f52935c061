"""What a Deployment's status says; pure (``pkg/controller/deployment/progress.go``, ``sync.go``)."""

import datetime as dt
from dataclasses import dataclass

import msgspec

from knarr.kits.clock import format_timestamp, parse_timestamp
from knarr.resources.apps.deployment import Deployment, DeploymentStatus
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.resources.core.references import Condition
from knarr.workloads import conditions as conditions_of
from knarr.workloads.conditions import Conditions
from knarr.workloads.deployment.rollout import Bounds

_FOREVER_S = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Observed:
    """What a status is computed from.

    Attributes:
        deployment: with its last status.
        new: the ReplicaSet of the current template, None before it exists.
        old: all others.
        bounds: of the Deployment.
        created: name of the ReplicaSet that this pass creates, empty when it does not.
        now: the current time.
    """

    deployment: Deployment
    new: ReplicaSet | None
    old: tuple[ReplicaSet, ...]
    bounds: Bounds
    created: str
    now: dt.datetime


def compute_status(observed: Observed) -> DeploymentStatus:
    """The whole status, conditions included; equal to the last one when nothing changed."""
    deployment = observed.deployment
    last = deployment.status or DeploymentStatus()
    sets = (*observed.old, observed.new) if observed.new is not None else observed.old
    counts = [item.status for item in sets if item.status is not None]
    available = sum(item.available_replicas for item in counts)
    wanted = sum((item.spec.replicas or 0) for item in sets if item.spec is not None)
    new_status = observed.new.status if observed.new is not None else None
    status = DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=sum(item.replicas or 0 for item in counts),
        updated_replicas=(new_status.replicas or 0) if new_status is not None else 0,
        ready_replicas=sum(item.ready_replicas for item in counts),
        available_replicas=available,
        unavailable_replicas=max(0, wanted - available),
        conditions=last.conditions,
        collision_count=last.collision_count,
    )
    conditions = _availability(status, observed)
    conditions = _failure(conditions, sets, observed)
    conditions = _progress(conditions, status, last, observed)
    return msgspec.structs.replace(status, conditions=conditions)


def _condition(kind: str, truth: str, reason: str, message: str, now: dt.datetime) -> Condition:
    moment = format_timestamp(now)
    return Condition(
        type=kind,
        status=truth,
        reason=reason,
        message=message,
        last_update_time=moment,
        last_transition_time=moment,
    )


def _availability(status: DeploymentStatus, observed: Observed) -> Conditions:
    if status.available_replicas >= observed.bounds.min_available:
        new = _condition(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            observed.now,
        )
    else:
        new = _condition(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            observed.now,
        )
    return conditions_of.put(status.conditions, new)


def _failure(
    conditions: Conditions, sets: tuple[ReplicaSet, ...], observed: Observed
) -> Conditions:
    for item in reversed(sets):
        failure = conditions_of.find(
            item.status.conditions if item.status else (), "ReplicaFailure"
        )
        if failure is not None and failure.status == "True":
            new = _condition(
                "ReplicaFailure", "True", failure.reason, failure.message, observed.now
            )
            return conditions_of.put(conditions, new)
    return conditions_of.without(conditions, "ReplicaFailure")


def _progress(
    conditions: Conditions, status: DeploymentStatus, last: DeploymentStatus, observed: Observed
) -> Conditions:
    spec = observed.deployment.spec
    deadline_s = spec.progress_deadline_seconds if spec is not None else None
    if spec is None or deadline_s is None or deadline_s >= _FOREVER_S:
        return conditions_of.without(conditions, "Progressing")
    current = conditions_of.find(conditions, "Progressing")
    was_paused = current is not None and current.reason == "DeploymentPaused"
    if spec.paused or (was_paused and not observed.created):
        reason, text = (
            ("DeploymentPaused", "paused") if spec.paused else ("DeploymentResumed", "resumed")
        )
        new = _condition("Progressing", "Unknown", reason, f"Deployment is {text}", observed.now)
        return conditions_of.put(conditions, new)
    verdict = _verdict(current, status, last, observed, deadline_s)
    if verdict is None:
        return conditions
    # The deadline counts from the last step, so every step moves the update time.
    return conditions_of.put(conditions, verdict, touch=verdict.status == "True")


def _verdict(
    current: Condition | None,
    status: DeploymentStatus,
    last: DeploymentStatus,
    observed: Observed,
    deadline_s: int,
) -> Condition | None:
    """The Progressing condition that must be written; None leaves it as it is."""
    reason = current.reason if current is not None else ""
    settled = status.replicas == status.updated_replicas and reason == "NewReplicaSetAvailable"
    subject = _subject(observed)
    truth = "True"
    if observed.created:
        reason = "NewReplicaSetCreated"
        message = f'Created new replica set "{observed.created}"'
    elif settled:
        return None
    elif _complete(status, observed.bounds):
        reason, message = "NewReplicaSetAvailable", f"{subject} has successfully progressed."
    elif _moved(status, last):
        reason, message = "ReplicaSetUpdated", f"{subject} is progressing."
    elif current is not None and _timed_out(current, deadline_s, observed.now):
        truth, reason = "False", "ProgressDeadlineExceeded"
        message = f"{subject} has timed out progressing."
    elif current is None and observed.new is not None:
        reason = "FoundNewReplicaSet"
        message = f'Found new replica set "{observed.new.metadata.name}"'
    else:
        return None
    return _condition("Progressing", truth, reason, message, observed.now)


def _subject(observed: Observed) -> str:
    if observed.new is None:
        return f'Deployment "{observed.deployment.metadata.name}"'
    return f'ReplicaSet "{observed.new.metadata.name}"'


def _complete(status: DeploymentStatus, bounds: Bounds) -> bool:
    return (
        status.updated_replicas == bounds.replicas
        and status.replicas == bounds.replicas
        and status.available_replicas == bounds.replicas
    )


def _moved(status: DeploymentStatus, last: DeploymentStatus) -> bool:
    return (
        status.updated_replicas > last.updated_replicas
        or status.replicas - status.updated_replicas < last.replicas - last.updated_replicas
        or status.ready_replicas > last.ready_replicas
        or status.available_replicas > last.available_replicas
    )


def _timed_out(current: Condition, deadline_s: int, now: dt.datetime) -> bool:
    if current.reason == "ProgressDeadlineExceeded":
        return True
    remaining = _remaining_s(current, deadline_s, now)
    return remaining is not None and remaining <= 0


def _remaining_s(current: Condition, deadline_s: int, now: dt.datetime) -> float | None:
    since = current.last_update_time
    if not since or current.reason in ("NewReplicaSetAvailable", "DeploymentPaused"):
        return None
    return deadline_s - (now - parse_timestamp(since)).total_seconds()


def deadline_in_s(
    status: DeploymentStatus, deadline_s: int | None, now: dt.datetime
) -> float | None:
    """Seconds until a rollout without progress counts as failed; None when there is none to wait for."""
    current = conditions_of.find(status.conditions, "Progressing")
    if current is None or deadline_s is None or current.reason == "ProgressDeadlineExceeded":
        return None
    remaining = _remaining_s(current, deadline_s, now)
    # One second more: timestamps have no fraction, and at the deadline it must be over.
    return None if remaining is None else max(0.0, remaining) + 1.0
