"""Counts a PodDisruptionBudget; pure (semantics of Kubernetes ``pkg/controller/disruption``)."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knarr.kits.clock import format_timestamp, parse_timestamp
from knarr.resources.core.pod import Pod
from knarr.resources.core.references import Condition
from knarr.resources.policy.poddisruptionbudget import (
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from knarr.workloads import pods as pods_of
from knarr.workloads.conditions import put

GRANT_LIFETIME_S = 120.0
"""How long an eviction that was granted counts although its Pod still shows no sign of it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The result of a count, and when a granted eviction that nobody used falls back."""

    status: PodDisruptionBudgetStatus
    requeue_after_s: float | None


def share(value: int | str, whole: int) -> int:
    """A number, or a percentage of ``whole`` rounded up."""
    if isinstance(value, str):
        return math.ceil(int(value.removesuffix("%")) * whole / 100)
    return value


def needs_scale(spec: PodDisruptionBudgetSpec) -> bool:
    """Whether the bound refers to how many Pods their owners want."""
    return spec.max_unavailable is not None or isinstance(spec.min_available, str)


def count_budget(
    budget: PodDisruptionBudget, pods: Sequence[Pod], wanted: int, now: dt.datetime
) -> Budget:
    """Compute the status.

    Args:
        budget: with its last status.
        pods: those that it selects.
        wanted: how many Pods their owners want together; only asked for when ``needs_scale``.
        now: the current time.
    """
    spec = budget.spec or PodDisruptionBudgetSpec()
    expected, desired = _expectation(spec, len(pods), wanted)
    granted = (budget.status.disrupted_pods if budget.status else None) or {}
    disrupted, requeue_s = _still_granted(granted, pods, now)
    healthy = sum(
        pods_of.is_ready(pod) and not pod.deleting and pod.metadata.name not in disrupted
        for pod in pods
    )
    allowed = max(0, healthy - desired) if expected > 0 else 0
    conditions = budget.status.conditions if budget.status else ()
    status = PodDisruptionBudgetStatus(
        observed_generation=budget.metadata.generation,
        disrupted_pods=disrupted or None,
        disruptions_allowed=allowed,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        conditions=put(conditions, _condition(budget, allowed, now)),
    )
    return Budget(status, requeue_s)


def _expectation(spec: PodDisruptionBudgetSpec, present: int, wanted: int) -> tuple[int, int]:
    """Expected Pods, and how many of them must be healthy."""
    if spec.max_unavailable is not None:
        return wanted, max(0, wanted - share(spec.max_unavailable, wanted))
    if isinstance(spec.min_available, str):
        return wanted, share(spec.min_available, wanted)
    return present, spec.min_available or 0


def _still_granted(
    granted: Mapping[str, str], pods: Sequence[Pod], now: dt.datetime
) -> tuple[dict[str, str], float | None]:
    alive = {pod.metadata.name for pod in pods if not pod.deleting}
    kept: dict[str, str] = {}
    waits: list[float] = []
    for name, moment in granted.items():
        left_s = GRANT_LIFETIME_S - (now - parse_timestamp(moment)).total_seconds()
        if name in alive and left_s > 0:
            kept[name] = moment
            waits.append(left_s)
    return kept, min(waits, default=None)


def _condition(budget: PodDisruptionBudget, allowed: int, now: dt.datetime) -> Condition:
    return Condition(
        type="DisruptionAllowed",
        status="True" if allowed else "False",
        reason="SufficientPods" if allowed else "InsufficientPods",
        observed_generation=budget.metadata.generation,
        last_transition_time=format_timestamp(now),
    )
