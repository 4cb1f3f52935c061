"""How many replicas each ReplicaSet of a Deployment should have now; numbers only, pure.

The algorithm is that of Kubernetes ``pkg/controller/deployment`` (``rolling.go``, ``recreate.go``,
``util/deployment_util.go``), without its proportional scaling: a Deployment that is scaled in the middle of
a rollout goes on towards the new number by the same rules.
"""

import math
from dataclasses import dataclass

from knarr.resources.apps.deployment import DeploymentSpec


@dataclass(frozen=True, slots=True)
class Group:
    """One ReplicaSet in numbers.

    Attributes:
        name: of the ReplicaSet.
        wanted: its ``spec.replicas``.
        available: of its Pods, the available ones.
    """

    name: str
    wanted: int
    available: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the number of Pods may leave the desired one during a rollout.

    Attributes:
        replicas: desired.
        surge: Pods above ``replicas`` that may exist.
        unavailable: Pods below ``replicas`` that may be missing.
    """

    replicas: int
    surge: int
    unavailable: int

    @property
    def min_available(self) -> int:
        """Available Pods below which none that is available may go."""
        return max(0, self.replicas - self.unavailable)


def _amount(value: int | str | None, replicas: int, *, round_up: bool) -> int:
    if isinstance(value, str):
        if not value.endswith("%"):
            return int(value)
        exact = int(value[:-1]) * replicas / 100
        return math.ceil(exact) if round_up else math.floor(exact)
    return value or 0


def bounds_of(spec: DeploymentSpec) -> Bounds:
    """The bounds of a Deployment; of surge and unavailable at least one is positive."""
    replicas = 1 if spec.replicas is None else spec.replicas
    if spec.strategy is None or spec.strategy.type != "RollingUpdate":
        return Bounds(replicas, 0, 0)
    rolling = spec.strategy.rolling_update
    surge = _amount(rolling.max_surge if rolling else "25%", replicas, round_up=True)
    missing = _amount(rolling.max_unavailable if rolling else "25%", replicas, round_up=False)
    if surge == 0 and missing == 0:
        # Otherwise neither could move first.
        missing = 1
    return Bounds(replicas, surge, min(missing, replicas))


def grow_new(new: Group, old: tuple[Group, ...], bounds: Bounds) -> int:
    """Replicas of the new ReplicaSet during a rolling update."""
    if new.wanted >= bounds.replicas:
        return bounds.replicas
    room = bounds.replicas + bounds.surge - new.wanted - sum(group.wanted for group in old)
    return new.wanted + max(0, min(room, bounds.replicas - new.wanted))


def shrink_old(new: Group, old: tuple[Group, ...], bounds: Bounds) -> dict[str, int]:
    """Replicas of the old ReplicaSets during a rolling update; only those that change.

    ``old`` is sorted oldest first. Pods that are not available go first, whatever their ReplicaSet.
    """
    total = new.wanted + sum(group.wanted for group in old)
    new_unavailable = max(0, new.wanted - new.available)
    budget = total - bounds.min_available - new_unavailable
    result = {group.name: group.wanted for group in old}
    for group in old:
        unhealthy = max(0, min(group.wanted, group.wanted - group.available))
        cut = max(0, min(budget, unhealthy))
        result[group.name] -= cut
        budget -= cut
    available = new.available + sum(min(group.available, group.wanted) for group in old)
    spare = max(0, min(budget, available - bounds.min_available))
    for group in old:
        cut = min(spare, result[group.name])
        result[group.name] -= cut
        spare -= cut
    return {group.name: result[group.name] for group in old if result[group.name] != group.wanted}


def plan_rolling(new: Group, old: tuple[Group, ...], bounds: Bounds) -> dict[str, int]:
    """Replicas of every ReplicaSet that must change, the new one included."""
    wanted = grow_new(new, old, bounds)
    changes = {} if wanted == new.wanted else {new.name: wanted}
    return changes | shrink_old(Group(new.name, wanted, min(new.available, wanted)), old, bounds)


def plan_recreate(
    new: Group, old: tuple[Group, ...], bounds: Bounds, *, old_pods: bool
) -> dict[str, int]:
    """As ``plan_rolling`` for Recreate: nothing new while ``old_pods`` exist."""
    changes = {group.name: 0 for group in old if group.wanted}
    if changes or old_pods:
        return changes
    return {} if new.wanted == bounds.replicas else {new.name: bounds.replicas}


def plan_paused(new: Group | None, old: tuple[Group, ...], bounds: Bounds) -> dict[str, int]:
    """As ``plan_rolling`` while the rollout is paused: scaling goes on, in the youngest active one."""
    groups = [*old, new] if new is not None else list(old)
    active = [group for group in groups if group.wanted] or groups[-1:]
    difference = bounds.replicas - sum(group.wanted for group in active)
    changes: dict[str, int] = {}
    for group in reversed(active):
        wanted = max(0, group.wanted + difference)
        difference -= wanted - group.wanted
        if wanted != group.wanted:
            changes[group.name] = wanted
    return changes
