"""Computes a PodAutoscaler's status and which Pods end; pure (Knative ``pkg/reconciler/autoscaling/kpa``).

Knarr has no ServerlessService: the gateway stands where one would be, so SKSReady is always True and the
service name is the revision's.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from knarr.dataplane.compile import compile_endpoint
from knarr.kits.clock import parse_timestamp
from knarr.meta.conditions import Truth, find_condition, is_true
from knarr.resources.autoscaling.podautoscaler import (
    POD_AUTOSCALER_CONDITIONS,
    PodAutoscaler,
    PodAutoscalerStatus,
)
from knarr.resources.core.pod import Pod
from knarr.serving import labels
from knarr.serving.autoscaler.policy import Policy
from knarr.serving.autoscaler.scaler import ScaleInputs, plan_active
from knarr.serving.marks import Marks

ACTIVE = "Active"
INITIALIZED = "ScaleTargetInitialized"
SKS_READY = "SKSReady"
PICKED_COST = "-100"


def make_inputs(
    autoscaler: PodAutoscaler, desired: int, now: dt.datetime, *, in_path: bool
) -> ScaleInputs:
    """What the way to zero depends on, from the stored conditions.

    Args:
        autoscaler: as stored.
        desired: replicas of the last decision, -1 before the first.
        now: the current time.
        in_path: whether every gateway knows the revision and would hold its requests.
    """
    status = autoscaler.status or PodAutoscalerStatus()
    active = find_condition(status.conditions, ACTIVE)
    created = autoscaler.metadata.creation_timestamp
    return ScaleInputs(
        desired=desired,
        active=active.status if active else "Unknown",
        active_for_s=_age_s(active.last_transition_time if active else created, now),
        initialized=is_true(status.conditions, INITIALIZED),
        in_path_s=math.inf if in_path else 0.0,
    )


def _age_s(timestamp: str | None, now: dt.datetime) -> float:
    return max(0.0, (now - parse_timestamp(timestamp)).total_seconds()) if timestamp else 0.0


def plan_status(
    autoscaler: PodAutoscaler, policy: Policy, *, want: int, ready: int, now: dt.datetime
) -> PodAutoscalerStatus:
    """The status after a pass.

    Args:
        autoscaler: as stored.
        policy: of the revision.
        want: replicas wanted, -1 when nothing is known; never overwrites what was known.
        ready: replicas that are Ready.
        now: the time of what changes.
    """
    before = autoscaler.status or PodAutoscalerStatus()
    marks = Marks(POD_AUTOSCALER_CONDITIONS, before.conditions, now)
    marks.true(SKS_READY)
    active = marks.get(ACTIVE)
    standing: Truth = active.status if active else "Unknown"
    plan = plan_active(
        policy, want=want, ready=ready, active=standing, initialized=marks.is_true(INITIALIZED)
    )
    if plan.initialized:
        marks.true(INITIALIZED)
    match plan.status:
        case "True":
            marks.true(ACTIVE)
        case "False":
            marks.false(ACTIVE, plan.reason, plan.message)
        case "Unknown":
            marks.unknown(ACTIVE, plan.reason, plan.message)
        case None:
            pass
    known = before.desired_scale is not None and before.desired_scale >= 0
    name = autoscaler.metadata.name
    return msgspec.structs.replace(
        before,
        observed_generation=autoscaler.metadata.generation,
        conditions=marks.finish(),
        service_name=name,
        metrics_service_name=name,
        desired_scale=before.desired_scale if want < 0 and known else want,
        actual_scale=ready,
    )


def plan_unsupported(
    autoscaler: PodAutoscaler, scaler: str, now: dt.datetime
) -> PodAutoscalerStatus:
    """The status of one that asks for an autoscaler that Knarr does not have."""
    before = autoscaler.status or PodAutoscalerStatus()
    marks = Marks(POD_AUTOSCALER_CONDITIONS, before.conditions, now)
    text = f'Knarr has no autoscaler of class "{scaler}"; use "kpa.autoscaling.knative.dev".'
    marks.false(ACTIVE, "UnsupportedClass", text)
    return msgspec.structs.replace(
        before,
        observed_generation=autoscaler.metadata.generation,
        conditions=marks.finish(),
    )


@dataclass(frozen=True, slots=True)
class EndPlan:
    """Which Pods end first.

    Attributes:
        pick: how many more Ready replicas the gateway is to name.
        resume: Pods that were named and shall stay after all.
    """

    pick: int
    resume: tuple[Pod, ...]


def is_picked(pod: Pod) -> bool:
    """Whether the gateway named this Pod for its end."""
    return pod.metadata.annotation(labels.DELETION_COST) == PICKED_COST


def plan_ends(pods: Sequence[Pod], want: int) -> EndPlan:
    """What to do with the Pods of a revision so that ``want`` remain; terminating ones do not count.

    The ReplicaSet ends Pods that are not Ready first, so the gateway only names as many Ready ones as
    must go besides those.
    """
    running = [pod for pod in pods if not pod.deleting]
    ready = [pod for pod in running if compile_endpoint(pod) is not None]
    picked = [pod for pod in ready if is_picked(pod)]
    surplus = max(0, len(ready) - want)
    if len(running) <= want:
        return EndPlan(0, tuple(picked))
    return EndPlan(max(0, surplus - len(picked)), ())
