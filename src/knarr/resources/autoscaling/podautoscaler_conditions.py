"""How a PodAutoscaler's status changes (Knative ``pkg/apis/autoscaling/v1alpha1/pa_lifecycle.go``)."""

import datetime as dt

from knarr.kits.clock import parse_timestamp
from knarr.meta.conditions import Truth, find_condition
from knarr.resources import knative_marks as marks
from knarr.resources.autoscaling.podautoscaler import (
    POD_AUTOSCALER_CONDITIONS,
    PodAutoscalerStatus,
)

ACTIVE = "Active"
SCALE_TARGET_INITIALIZED = "ScaleTargetInitialized"
SKS_READY = "SKSReady"

NO_TRAFFIC = ("NoTraffic", "The target is not receiving traffic.")
QUEUED = ("Queued", "Requests to the target are being buffered as resources are provisioned.")
TIMED_OUT = ("TimedOut", "The target could not be activated.")


def initialize(status: PodAutoscalerStatus, now: dt.datetime) -> PodAutoscalerStatus:
    """Every condition exists."""
    return marks.initialized(POD_AUTOSCALER_CONDITIONS, status, now)


def mark_active(status: PodAutoscalerStatus, now: dt.datetime) -> PodAutoscalerStatus:
    """Enough replicas are ready."""
    return marks.true(POD_AUTOSCALER_CONDITIONS, status, ACTIVE, now)


def mark_activating(
    status: PodAutoscalerStatus, reason: str, message: str, now: dt.datetime
) -> PodAutoscalerStatus:
    """Replicas are wanted and not there: ``QUEUED``."""
    return marks.unknown(POD_AUTOSCALER_CONDITIONS, status, ACTIVE, reason, message, now)


def mark_inactive(
    status: PodAutoscalerStatus, reason: str, message: str, now: dt.datetime
) -> PodAutoscalerStatus:
    """No replica is wanted: ``NO_TRAFFIC`` or ``TIMED_OUT``."""
    return marks.false(POD_AUTOSCALER_CONDITIONS, status, ACTIVE, reason, message, now)


def mark_resource_not_owned(
    status: PodAutoscalerStatus, kind: str, name: str, now: dt.datetime
) -> PodAutoscalerStatus:
    """An object of somebody else has a name that is needed."""
    return mark_inactive(status, "NotOwned", marks.not_owned(kind, name), now)


def mark_resource_failed_creation(
    status: PodAutoscalerStatus, kind: str, name: str, now: dt.datetime
) -> PodAutoscalerStatus:
    """An object that is needed could not be made."""
    return mark_inactive(status, "FailedCreate", f'Failed to create {kind} "{name}".', now)


def mark_scale_target_initialized(
    status: PodAutoscalerStatus, now: dt.datetime
) -> PodAutoscalerStatus:
    """The first scale was reached once; this never goes back."""
    return marks.true(POD_AUTOSCALER_CONDITIONS, status, SCALE_TARGET_INITIALIZED, now)


def mark_sks_ready(status: PodAutoscalerStatus, now: dt.datetime) -> PodAutoscalerStatus:
    """Requests reach the target; the gateway stands in for Knative's ServerlessService."""
    return marks.true(POD_AUTOSCALER_CONDITIONS, status, SKS_READY, now)


def mark_sks_not_ready(
    status: PodAutoscalerStatus, message: str, now: dt.datetime
) -> PodAutoscalerStatus:
    """Requests do not reach the target yet."""
    return marks.unknown(POD_AUTOSCALER_CONDITIONS, status, SKS_READY, "NotReady", message, now)


def in_state_for_s(status: PodAutoscalerStatus, truth: Truth, now: dt.datetime) -> float:
    """Seconds for which Active has been ``truth``; -1 when it is something else."""
    found = find_condition(status.conditions, ACTIVE)
    if found is None or found.status != truth or found.last_transition_time is None:
        return -1.0
    return (now - parse_timestamp(found.last_transition_time)).total_seconds()
