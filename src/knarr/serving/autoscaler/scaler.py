"""From a decision to replicas: bounds, the way to zero, and the Active condition, as pure functions.

Knative's machine (``pkg/reconciler/autoscaling/kpa``) with one difference of ours: the gateway is always
in the path of requests, so there is nothing to wait for once every gateway knows the revision. The grace
period is, as its description says, an upper bound: it is waited for only while they do not.
"""

from dataclasses import dataclass

from knarr.meta.conditions import Truth
from knarr.resources.autoscaling.podautoscaler_conditions import NO_TRAFFIC, QUEUED, TIMED_OUT
from knarr.serving.autoscaler.policy import Policy

UNKNOWN_SCALE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleInputs:
    """What the way to zero depends on.

    Attributes:
        desired: replicas of the last decision, -1 before the first.
        active: status of the Active condition.
        active_for_s: seconds since that condition last changed.
        initialized: the initial scale was reached once.
        in_path_s: seconds for which the gateways have been able to hold requests for the revision.
    """

    desired: int
    active: Truth
    active_for_s: float
    initialized: bool
    in_path_s: float


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """What to do with the target's replicas.

    Attributes:
        want: replicas, -1 when nothing is known yet.
        apply: whether the target is to be set to ``want`` now.
        again_in_s: when to look again, or None.
        why: in words, for ``explain``.
    """

    want: int
    apply: bool
    again_in_s: float | None = None
    why: str = ""


def plan_scale(policy: Policy, inputs: ScaleInputs) -> ScalePlan:
    """Bound a decision and pass it through the way to zero."""
    activating = inputs.active == "Unknown"
    if inputs.desired < 0 and not activating:
        return ScalePlan(inputs.desired, apply=False, why="no decision yet")
    want = _bounded(policy, inputs)
    if want != 0:
        return ScalePlan(want, apply=True, why="decided")
    if not policy.enable_scale_to_zero:
        return ScalePlan(1, apply=True, why="enable-scale-to-zero is false")
    match inputs.active:
        case "Unknown":
            return _zero_while_activating(policy, inputs)
        case "True":
            return _zero_while_active(policy, inputs)
        case "False":
            return _zero_while_inactive(policy, inputs)


def _bounded(policy: Policy, inputs: ScaleInputs) -> int:
    low = policy.min_scale
    if policy.initial_scale > 1 and not inputs.initialized and not policy.unreachable:
        low = max(low, policy.initial_scale)
    if inputs.desired < low:
        return low
    if policy.max_scale and inputs.desired > policy.max_scale:
        return policy.max_scale
    return inputs.desired


def _zero_while_activating(policy: Policy, inputs: ScaleInputs) -> ScalePlan:
    left = policy.activation_timeout_s - inputs.active_for_s
    if left < 0:
        return ScalePlan(0, apply=True, why="the start took longer than the progress deadline")
    return ScalePlan(UNKNOWN_SCALE, apply=False, again_in_s=left + 0.001, why="starting")


def _zero_while_active(policy: Policy, inputs: ScaleInputs) -> ScalePlan:
    left = policy.decider.stable_window_s - inputs.active_for_s
    if left <= 0:
        return ScalePlan(0, apply=False, why="idle for a stable window: becomes inactive")
    return ScalePlan(1, apply=True, again_in_s=left, why="active for less than a stable window")


def _zero_while_inactive(policy: Policy, inputs: ScaleInputs) -> ScalePlan:
    inactive_for_s = inputs.active_for_s
    if inactive_for_s >= max(policy.grace_s, policy.retention_s):
        return ScalePlan(0, apply=True, why="inactive for longer than grace and retention")
    if inactive_for_s < policy.retention_s:
        left = policy.retention_s - inactive_for_s
        return ScalePlan(0, apply=False, again_in_s=left, why="the last replica is retained")
    left = policy.grace_s - inputs.in_path_s
    if left <= 0:
        return ScalePlan(0, apply=True, why="the gateway is in the path and holds requests")
    return ScalePlan(0, apply=False, again_in_s=left, why="within the grace period")


@dataclass(frozen=True, slots=True)
class ActivePlan:
    """What becomes of the Active condition.

    Attributes:
        status: to write, or None to leave it as it is.
        text: reason and message.
        initialized: the start has succeeded, now or before.
    """

    status: Truth | None
    text: tuple[str, str]
    initialized: bool


_NO_TEXT = ("", "")


def plan_active(
    policy: Policy, *, want: int, ready: int, active: Truth, initialized: bool
) -> ActivePlan:
    """What the Active condition becomes.

    Args:
        policy: of the revision.
        want: replicas wanted, -1 when nothing is known.
        ready: replicas that are Ready.
        active: the condition as it stands.
        initialized: the initial scale was reached before.
    """
    floor = 1 if initialized else policy.initial_scale
    least = max(policy.min_scale, floor)
    started = initialized or ready >= least
    if want == 0 or least == 0:
        if active == "False":
            # Why it is inactive was said when it became so.
            return ActivePlan(None, _NO_TEXT, started)
        timed_out = active == "Unknown" and least > 0
        return ActivePlan("False", TIMED_OUT if timed_out else NO_TRAFFIC, started)
    wanted = want > 0 or active != "False"
    if ready < least:
        return ActivePlan(*(("Unknown", QUEUED) if wanted else ("False", NO_TRAFFIC)), started)
    return ActivePlan("True" if wanted else None, _NO_TEXT, started)
