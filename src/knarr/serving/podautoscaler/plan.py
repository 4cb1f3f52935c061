"""Computes a PodAutoscaler's status and which Pods end; pure (Knative ``pkg/reconciler/autoscaling/kpa``).

Knarr has no ServerlessService: the gateway stands where one would be, so SKSReady is always True and the
service name is the revision's.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from knarr.dataplane.compile import compile_endpoint
from knarr.kits.clock import parse_timestamp
from knarr.meta.conditions import Truth, find_condition, is_true
from knarr.resources.autoscaling import podautoscaler_conditions as conditions
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler, PodAutoscalerStatus
from knarr.resources.core.pod import Pod
from knarr.serving import labels
from knarr.serving.autoscaler.policy import Policy
from knarr.serving.autoscaler.scaler import ScaleInputs, plan_active
from knarr.serving.marks import finish_status

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
    active = find_condition(status.conditions, conditions.ACTIVE)
    created = autoscaler.metadata.creation_timestamp
    return ScaleInputs(
        desired=desired,
        active=active.status if active else "Unknown",
        active_for_s=_age_s(active.last_transition_time if active else created, now),
        initialized=is_true(status.conditions, conditions.SCALE_TARGET_INITIALIZED),
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
    status = conditions.initialize(before, now)
    status = conditions.mark_sks_ready(status, now)
    active = find_condition(status.conditions, conditions.ACTIVE)
    standing: Truth = active.status if active else "Unknown"
    started = is_true(status.conditions, conditions.SCALE_TARGET_INITIALIZED)
    plan = plan_active(policy, want=want, ready=ready, active=standing, initialized=started)
    if plan.initialized:
        status = conditions.mark_scale_target_initialized(status, now)
    match plan.status:
        case "True":
            status = conditions.mark_active(status, now)
        case "False":
            status = conditions.mark_inactive(status, *plan.text, now)
        case "Unknown":
            status = conditions.mark_activating(status, *plan.text, now)
        case None:
            pass
    known = before.desired_scale is not None and before.desired_scale >= 0
    name = autoscaler.metadata.name
    status = replace(
        status,
        service_name=name,
        metrics_service_name=name,
        desired_scale=before.desired_scale if want < 0 and known else want,
        actual_scale=ready,
    )
    return finish_status(autoscaler.status, status, autoscaler.metadata.generation)


def plan_unsupported(
    autoscaler: PodAutoscaler, scaler: str, now: dt.datetime
) -> PodAutoscalerStatus:
    """The status of one that asks for an autoscaler that Knarr does not have."""
    status = conditions.initialize(autoscaler.status or PodAutoscalerStatus(), now)
    text = f'Knarr has no autoscaler of class "{scaler}"; use "kpa.autoscaling.knative.dev".'
    status = conditions.mark_inactive(status, "UnsupportedClass", text, now)
    return finish_status(autoscaler.status, status, autoscaler.metadata.generation)


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
