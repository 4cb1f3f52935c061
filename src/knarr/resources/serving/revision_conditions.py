"""How a Revision's status changes (Knative ``pkg/apis/serving/v1/revision_lifecycle.go``)."""

import datetime as dt

from msgspec.structs import replace

from knarr.meta.conditions import Condition, ConditionSet, find_condition, is_false, is_true
from knarr.resources import knative_marks as marks
from knarr.resources.apps.deployment import DeploymentStatus
from knarr.resources.autoscaling.podautoscaler import PodAutoscalerStatus
from knarr.resources.serving.revision import REVISION_CONDITIONS, RevisionStatus

ACTIVE = "Active"
CONTAINER_HEALTHY, RESOURCES_AVAILABLE = "ContainerHealthy", "ResourcesAvailable"
CONTAINER_MISSING = "ContainerMissing"
RESOLVING_DIGESTS = "ResolvingDigests"
DEPLOYING = "Deploying"
NOT_OWNED = "NotOwned"
PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"

_DEPLOYMENT_CONDITIONS = ConditionSet(("Progressing", "ReplicaSetReady"))


def exit_code_reason(exit_code: int) -> str:
    """The reason for a container that ended."""
    return f"ExitCode{exit_code}"


def container_exiting_message(message: str) -> str:
    """The message for a container that ended."""
    return f"Container failed with: {message}"


def container_missing_message(image: str, message: str) -> str:
    """The message for an image that cannot be fetched."""
    return f'Unable to fetch image "{image}": {message}'


def initialize(status: RevisionStatus, now: dt.datetime) -> RevisionStatus:
    """Every condition exists."""
    return marks.initialized(REVISION_CONDITIONS, status, now)


def mark_active_true(status: RevisionStatus, now: dt.datetime) -> RevisionStatus:
    """Replicas are there."""
    return marks.true(REVISION_CONDITIONS, status, ACTIVE, now)


def mark_active_false(
    status: RevisionStatus, reason: str, message: str, now: dt.datetime
) -> RevisionStatus:
    """No replica is there, and none is wanted."""
    return marks.false(REVISION_CONDITIONS, status, ACTIVE, reason, message, now)


def mark_active_unknown(
    status: RevisionStatus, reason: str, message: str, now: dt.datetime
) -> RevisionStatus:
    """Replicas are on their way."""
    return marks.unknown(REVISION_CONDITIONS, status, ACTIVE, reason, message, now)


def mark_container_healthy_true(status: RevisionStatus, now: dt.datetime) -> RevisionStatus:
    """The container runs."""
    return marks.true(REVISION_CONDITIONS, status, CONTAINER_HEALTHY, now)


def mark_container_healthy_false(
    status: RevisionStatus, reason: str, message: str, now: dt.datetime
) -> RevisionStatus:
    """The container does not run."""
    return marks.false(REVISION_CONDITIONS, status, CONTAINER_HEALTHY, reason, message, now)


def mark_container_healthy_unknown(
    status: RevisionStatus, reason: str, message: str, now: dt.datetime
) -> RevisionStatus:
    """Nobody knows yet whether the container runs."""
    return marks.unknown(REVISION_CONDITIONS, status, CONTAINER_HEALTHY, reason, message, now)


def mark_resources_available_true(status: RevisionStatus, now: dt.datetime) -> RevisionStatus:
    """What the Revision needs is there."""
    return marks.true(REVISION_CONDITIONS, status, RESOURCES_AVAILABLE, now)


def mark_resources_available_false(
    status: RevisionStatus, reason: str, message: str, now: dt.datetime
) -> RevisionStatus:
    """What the Revision needs cannot be had."""
    return marks.false(REVISION_CONDITIONS, status, RESOURCES_AVAILABLE, reason, message, now)


def mark_resources_available_unknown(
    status: RevisionStatus, reason: str, message: str, now: dt.datetime
) -> RevisionStatus:
    """What the Revision needs is being made."""
    return marks.unknown(REVISION_CONDITIONS, status, RESOURCES_AVAILABLE, reason, message, now)


def mark_not_owned(
    status: RevisionStatus, kind: str, name: str, now: dt.datetime
) -> RevisionStatus:
    """An object of somebody else has a name that the Revision needs."""
    text = marks.not_owned(kind, name)
    return mark_resources_available_false(status, NOT_OWNED, text, now)


def propagate_deployment(
    status: RevisionStatus, source: DeploymentStatus, now: dt.datetime
) -> RevisionStatus:
    """Resources are available when the Deployment progresses and its ReplicaSet can make Pods."""
    ready = find_condition(_deployment_conditions(source, now), "Ready")
    if ready is None:
        return status
    return marks.copied(REVISION_CONDITIONS, status, RESOURCES_AVAILABLE, ready, now)


def _deployment_conditions(source: DeploymentStatus, now: dt.datetime) -> tuple[Condition, ...]:
    rules = _DEPLOYMENT_CONDITIONS
    conditions = rules.initialize((), now)
    # No ReplicaFailure condition means no failure.
    conditions = rules.mark_true(conditions, "ReplicaSetReady", now)
    conditions = rules.mark_unknown(conditions, "Progressing", DEPLOYING, "", now)
    for kind, target, good in (
        ("Progressing", "Progressing", "True"),
        ("ReplicaFailure", "ReplicaSetReady", "False"),
    ):
        for item in source.conditions:
            if item.type != kind:
                continue
            if item.status == "Unknown":
                conditions = rules.mark_unknown(conditions, target, item.reason, item.message, now)
            elif item.status == good:
                conditions = rules.mark_true(conditions, target, now)
            else:
                conditions = rules.mark_false(conditions, target, item.reason, item.message, now)
    return conditions


def propagate_autoscaler(
    status: RevisionStatus, source: PodAutoscalerStatus, now: dt.datetime
) -> RevisionStatus:
    """Activity, replica counts, and whether the first scale was ever reached."""
    failed = is_false(status.conditions, RESOURCES_AVAILABLE) or is_false(
        status.conditions, CONTAINER_HEALTHY
    )
    status = replace(
        status,
        actual_replicas=_count(source.actual_scale),
        desired_replicas=_count(source.desired_scale),
    )
    ready = find_condition(source.conditions, "Ready")
    if ready is None:
        status = mark_active_unknown(status, DEPLOYING, "", now)
        if failed:
            return status
        return mark_resources_available_unknown(status, DEPLOYING, "", now)
    started = is_true(source.conditions, "ScaleTargetInitialized")
    if started and not failed:
        status = mark_resources_available_true(status, now)
        status = mark_container_healthy_true(status, now)
    # An initial scale of 0 leaves the Deployment ready without anything having started.
    available = is_true(status.conditions, RESOURCES_AVAILABLE)
    if available and not (source.service_name and started):
        status = mark_resources_available_unknown(status, DEPLOYING, "", now)
    gave_up = ready.status == "False" and not (started or failed) and bool(source.service_name)
    if gave_up:
        text = "Initial scale was never achieved"
        status = mark_resources_available_false(status, PROGRESS_DEADLINE_EXCEEDED, text, now)
    return marks.copied(REVISION_CONDITIONS, status, ACTIVE, ready, now)


def _count(scale: int | None) -> int | None:
    return scale if scale is not None and scale >= 0 else None
