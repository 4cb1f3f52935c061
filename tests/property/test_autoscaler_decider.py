"""What holds of every decision, whatever the load."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from knarr.dataplane import messages
from knarr.kits.clock import ManualClock
from knarr.meta.objects import Key
from knarr.serving.autoscaler.autoscaler import Autoscaler
from knarr.serving.autoscaler.decider import (
    DeciderSpec,
    DeciderState,
    Observation,
    decide,
    initial_state,
)
from knarr.serving.autoscaler.policy import Policy
from knarr.serving.autoscaler.scaler import ScaleInputs, plan_scale

SPECS = st.builds(
    DeciderSpec,
    target=st.floats(0.01, 500),
    total=st.floats(1, 1000),
    burst_capacity=st.sampled_from([-1.0, 0.0, 211.0]),
    max_up_rate=st.floats(1.1, 1000),
    max_down_rate=st.floats(1.1, 10),
    panic_threshold=st.floats(1.1, 10),
    stable_window_s=st.integers(6, 3600),
    activation_scale=st.sampled_from([0, 2, 5]),
    scale_down_delay_s=st.sampled_from([0, 7, 60]),
    reachable=st.booleans(),
)
SEEN = st.builds(
    Observation,
    stable=st.floats(0, 10_000),
    panic=st.floats(0, 10_000),
    ready=st.integers(0, 200),
    observed_s=st.floats(0, 7200),
)


@given(SPECS, SEEN, st.floats(0, 1e6))
def test_a_decision_stays_within_the_rates(spec, seen, now_s):
    decision = decide(spec, initial_state(seen.ready, now_s), seen, now_s)
    ready = max(1, seen.ready)
    most = max(-(-spec.max_up_rate * ready // 1), spec.activation_scale, seen.ready)
    assert 0 <= decision.desired <= most
    assert decision.before == initial_state(seen.ready, now_s)
    assert decision.observation == seen


@given(SPECS, SEEN, st.floats(0, 10_000), st.floats(0, 1e6))
def test_more_load_never_means_fewer_replicas(spec, seen, more, now_s):
    state = DeciderState()
    busier = dataclasses.replace(seen, stable=seen.stable + more, panic=seen.panic + more)
    less = decide(spec, state, seen, now_s).desired
    assert decide(spec, state, busier, now_s).desired >= less


@given(SPECS, st.lists(SEEN, min_size=2, max_size=30))
def test_replicas_never_fall_within_a_panic(spec, observations):
    spec = dataclasses.replace(spec, scale_down_delay_s=0)
    state, before, now_s = DeciderState(), None, 100.0
    for short in observations:
        seen = dataclasses.replace(short, observed_s=1e9)
        decision = decide(spec, state, seen, now_s)
        if before is not None and before.after.panic_since_s is not None:
            still = decision.after.panic_since_s is not None
            assert not still or decision.desired >= before.desired
        before, state, now_s = decision, decision.after, now_s + 2


@given(SPECS, st.lists(SEEN, min_size=1, max_size=40))
def test_the_delay_keeps_the_greatest_recent_wish(spec, observations):
    spec = dataclasses.replace(spec, scale_down_delay_s=20, reachable=True)
    without = dataclasses.replace(spec, scale_down_delay_s=0)
    state, plain, now_s, wishes = DeciderState(), DeciderState(), 100.0, []
    for short in observations:
        seen = dataclasses.replace(short, observed_s=1e9)
        delayed = decide(spec, state, seen, now_s)
        wish = decide(without, plain, seen, now_s)
        wishes.append(wish.desired)
        assert delayed.desired == max(wishes[-10:])
        assert len(delayed.after.delayed) <= 10
        state, plain, now_s = delayed.after, wish.after, now_s + 2


@given(st.lists(st.floats(0.01, 300), min_size=1, max_size=40), st.integers(6, 60), st.booleans())
def test_traffic_is_never_answered_with_zero(loads, window_s, weighted):
    clock, key = ManualClock(), Key("default", "hello-00001")
    replicas = {"count": 1}
    autoscaler = Autoscaler(clock, lambda _: replicas["count"], lambda: 1)
    policy = Policy(
        decider=DeciderSpec(stable_window_s=window_s),
        algorithm="weighted-exponential" if weighted else "linear",
    )
    autoscaler.track(key, policy)
    for load in loads:
        stats = messages.RevisionStats(revision=str(key), concurrency=load, requests=1)
        autoscaler.reported(messages.Stats(interval_ms=1000, revisions=(stats,)))
        clock.advance(1)
        autoscaler.tick()
        desired = autoscaler.track(key, policy).desired
        assert desired >= 1
        replicas["count"] = desired


@given(
    st.integers(-1, 50),
    st.integers(0, 5),
    st.integers(0, 20),
    st.sampled_from(["True", "False", "Unknown"]),
    st.floats(0, 2000),
    st.booleans(),
    st.floats(0, 2000),
)
def test_the_plan_stays_within_the_bounds(desired, low, extra, active, since, initialized, path):
    policy = Policy(min_scale=low, max_scale=low + extra if extra else 0, initial_scale=1)
    plan = plan_scale(
        policy,
        ScaleInputs(
            desired=desired,
            active=active,
            active_for_s=since,
            initialized=initialized,
            in_path_s=path,
        ),
    )
    if plan.apply:
        assert plan.want >= low
        assert plan.want <= max(policy.max_scale or 10**9, low)
    if plan.apply and plan.want == 0:
        assert low == 0
        assert active != "True"
