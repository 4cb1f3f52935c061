"""A rolling update stays within its bounds at every step and reaches its end."""

from hypothesis import given
from hypothesis import strategies as st

from knarr.resources.apps.deployment import DeploymentSpec, DeploymentStrategy, RollingUpdate
from knarr.workloads.deployment.rollout import Group, bounds_of, plan_paused, plan_rolling

AMOUNTS = st.one_of(st.integers(0, 6), st.integers(0, 100).map(lambda part: f"{part}%"))


@st.composite
def bounds(draw):
    rolling = RollingUpdate(max_surge=draw(AMOUNTS), max_unavailable=draw(AMOUNTS))
    strategy = DeploymentStrategy(type="RollingUpdate", rolling_update=rolling)
    return bounds_of(DeploymentSpec(replicas=draw(st.integers(0, 12)), strategy=strategy))


@st.composite
def groups(draw, name: str):
    wanted = draw(st.integers(0, 12))
    return Group(name, wanted, draw(st.integers(0, wanted)))


def after(group: Group, changes: dict[str, int]) -> Group:
    """A ReplicaSet that was scaled: Pods that are not available end first, new ones are not available."""
    wanted = changes.get(group.name, group.wanted)
    return Group(group.name, wanted, min(group.available, wanted))


OLD = st.lists(st.integers(0, 99), max_size=3, unique=True).flatmap(
    lambda ids: st.tuples(*[groups(f"old{number}") for number in ids])
)


@given(bounds(), groups("new"), OLD)
def test_one_step_keeps_the_bounds(limits, new, old):
    changes = plan_rolling(new, old, limits)
    total = new.wanted + sum(group.wanted for group in old)
    stepped = [after(group, changes) for group in (new, *old)]

    assert all(wanted >= 0 for wanted in changes.values())
    assert sum(group.wanted for group in stepped) <= max(total, limits.replicas + limits.surge)
    assert stepped[0].wanted <= max(limits.replicas, 0)
    before = min(new.available, limits.replicas) + sum(group.available for group in old)
    left = sum(group.available for group in stepped)
    assert left >= min(before, limits.min_available), "an available Pod went that was needed"


@given(bounds(), groups("new"), OLD, st.randoms(use_true_random=False))
def test_it_ends_when_new_pods_become_available(limits, new, old, rng):
    world = [new, *old]
    for _ in range(200):
        changes = plan_rolling(world[0], tuple(world[1:]), limits)
        world = [after(group, changes) for group in world]
        first = world[0]
        if first.available < first.wanted:
            grown = rng.randint(first.available + 1, first.wanted)
            world[0] = Group(first.name, first.wanted, grown)
        elif not changes:
            break

    assert world[0] == Group("new", limits.replicas, limits.replicas)
    assert all(group.wanted == 0 for group in world[1:])


@given(bounds(), groups("new"), OLD)
def test_a_paused_rollout_has_exactly_the_replicas_asked_for(limits, new, old):
    changes = plan_paused(new, old, limits)
    world = [after(group, changes) for group in (new, *old)]

    assert sum(group.wanted for group in world) == limits.replicas
    assert plan_paused(world[0], tuple(world[1:]), limits) == {}
