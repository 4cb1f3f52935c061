"""Decisions of the published algorithm, one row per rule."""

import pytest

from knarr.serving.autoscaler.decider import (
    DeciderSpec,
    DeciderState,
    Observation,
    decide,
    initial_excess_burst_capacity,
    initial_state,
)

SPEC = DeciderSpec(target=10, total=20, burst_capacity=0, max_up_rate=10, stable_window_s=60)


def desired(spec, stable, panic, ready, state=None, now_s=1000.0, observed_s=1e9):
    state = state or DeciderState()
    return decide(spec, state, Observation(stable, panic, ready, observed_s), now_s)


@pytest.mark.parametrize(
    ("spec", "stable", "panic", "ready", "want"),
    [
        pytest.param(SPEC, 10, 10, 1, 1, id="load at the target needs one"),
        pytest.param(SPEC, 10.000001, 10, 1, 2, id="a little more needs two"),
        pytest.param(SPEC, 0, 0, 1, 0, id="no load needs none"),
        pytest.param(SPEC, 200, 15, 1, 10, id="growth is limited by the up rate"),
        pytest.param(SPEC, 5, 5, 10, 5, id="decrease is limited by the down rate"),
        pytest.param(
            DeciderSpec(target=10, reachable=False), 5, 5, 10, 1, id="not when unreachable"
        ),
        pytest.param(
            DeciderSpec(target=10, activation_scale=4), 5, 5, 1, 4, id="activation scale lifts"
        ),
        pytest.param(
            DeciderSpec(target=10, activation_scale=4), 0, 0, 1, 0, id="but not from nothing"
        ),
        pytest.param(
            DeciderSpec(target=1, max_up_rate=1.1), 3, 3, 2, 3, id="the up rate rounds up"
        ),
    ],
)
def test_stable_decisions(spec, stable, panic, ready, want):
    assert desired(spec, stable, panic, ready).desired == want


def test_panic_begins_at_the_threshold_and_takes_the_greater_wish():
    decision = desired(SPEC, 5, 20, 1)
    assert decision.after == DeciderState(panic_since_s=1000.0, panic_max=2)
    assert decision.desired == 2


def test_panic_never_decreases_and_ends_a_stable_window_after_its_cause():
    first = desired(SPEC, 10, 50, 1)
    assert first.desired == 5
    later = desired(SPEC, 10, 0, 5, first.after, 1060.0)
    assert (later.desired, later.after.panic_since_s) == (5, 1000.0)
    over = desired(SPEC, 10, 0, 5, later.after, 1060.1)
    assert (over.desired, over.after) == (2, DeciderState())


def test_panic_is_extended_while_over_the_threshold():
    first = desired(SPEC, 10, 50, 1)
    again = desired(SPEC, 10, 100, 5, first.after, 1030.0)
    assert again.after.panic_since_s == 1030.0


def test_a_restart_with_several_replicas_begins_in_panic():
    state = initial_state(4, 1000.0)
    assert desired(SPEC, 0, 0, 4, state, 1001.0).desired == 4
    assert initial_state(1, 1000.0).panic_since_s is None


@pytest.mark.parametrize(
    ("burst", "ready", "panic", "want"),
    [(0, 3, 5, 0), (-1, 3, 5, -1), (10, 3, 5.5, 44), (100, 1, 0, -80)],
)
def test_excess_burst_capacity(burst, ready, panic, want):
    spec = DeciderSpec(target=10, total=20, burst_capacity=burst)
    assert desired(spec, 1, panic, ready).excess_burst_capacity == want


def test_excess_burst_capacity_before_the_first_decision():
    assert initial_excess_burst_capacity(DeciderSpec(total=100, burst_capacity=211), 1) == -111
    assert initial_excess_burst_capacity(DeciderSpec(burst_capacity=-1), 1) == -1


def test_what_runs_is_kept_until_a_stable_window_was_watched():
    short = desired(SPEC, 0, 0, 3, observed_s=59)
    assert short.desired == 3
    assert "watched for 59 s" in short.why
    assert desired(SPEC, 0, 0, 1, observed_s=60).desired == 0
    assert desired(SPEC, 0, 0, 0, observed_s=1).desired == 0
    unreachable = DeciderSpec(target=10, reachable=False)
    assert desired(unreachable, 0, 0, 3, observed_s=1).desired == 1
