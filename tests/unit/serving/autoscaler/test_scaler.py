"""The way to zero and the Active condition."""

import pytest

from knarr.serving.autoscaler.decider import DeciderSpec
from knarr.serving.autoscaler.policy import Policy
from knarr.serving.autoscaler.scaler import ScaleInputs, ScalePlan, plan_active, plan_scale

POLICY = Policy(decider=DeciderSpec(stable_window_s=60), grace_s=30, initial_scale=1)


def plan(policy=POLICY, desired=0, active="True", since=0.0, initialized=True, path=1e9):
    result = plan_scale(
        policy,
        ScaleInputs(
            desired=desired,
            active=active,
            active_for_s=since,
            initialized=initialized,
            in_path_s=path,
        ),
    )
    return ScalePlan(result.want, result.apply, result.again_in_s)


@pytest.mark.parametrize(
    ("change", "want"),
    [
        pytest.param({"desired": 3}, ScalePlan(3, True), id="a positive decision is applied"),
        pytest.param({"desired": -1}, ScalePlan(-1, False), id="no decision, nothing to do"),
        pytest.param(
            {"policy": Policy(min_scale=2), "desired": 0}, ScalePlan(2, True), id="minimum"
        ),
        pytest.param(
            {"policy": Policy(max_scale=2), "desired": 9}, ScalePlan(2, True), id="maximum"
        ),
        pytest.param(
            {"policy": Policy(initial_scale=3), "desired": 1, "initialized": False},
            ScalePlan(3, True),
            id="the initial scale holds until it was reached",
        ),
        pytest.param(
            {
                "policy": Policy(initial_scale=3, unreachable=True),
                "desired": 1,
                "initialized": False,
            },
            ScalePlan(1, True),
            id="but not when unreachable",
        ),
        pytest.param(
            {"policy": Policy(enable_scale_to_zero=False)}, ScalePlan(1, True), id="forbidden"
        ),
        pytest.param(
            {"since": 20}, ScalePlan(1, True, 40), id="active for less than a stable window"
        ),
        pytest.param({"since": 60}, ScalePlan(0, False), id="becomes inactive, pods stay"),
        pytest.param(
            {"active": "Unknown", "since": 30}, ScalePlan(-1, False, 600.001), id="starting"
        ),
        pytest.param({"active": "Unknown", "since": 631}, ScalePlan(0, True), id="given up"),
        pytest.param({"active": "False", "since": 1}, ScalePlan(0, True), id="gateway in path"),
        pytest.param(
            {"active": "False", "since": 1, "path": 10},
            ScalePlan(0, False, 20),
            id="not yet in the path for the grace period",
        ),
        pytest.param(
            {"active": "False", "since": 30, "path": 0}, ScalePlan(0, True), id="grace is over"
        ),
        pytest.param(
            {"policy": Policy(retention_s=90), "active": "False", "since": 40},
            ScalePlan(0, False, 50),
            id="the last replica is retained",
        ),
    ],
)
def test_scale(change, want):
    assert plan(**change) == want


@pytest.mark.parametrize(
    ("want", "ready", "active", "initialized", "result"),
    [
        pytest.param(0, 1, "True", True, ("False", "NoTraffic", True), id="to zero"),
        pytest.param(0, 0, "Unknown", False, ("False", "TimedOut", False), id="never started"),
        pytest.param(1, 0, "False", True, ("Unknown", "Queued", True), id="waking"),
        pytest.param(1, 1, "Unknown", True, ("True", "", True), id="awake"),
        pytest.param(0, 1, "False", True, (None, "", True), id="stays as it became"),
        pytest.param(-1, 0, "False", True, ("False", "NoTraffic", True), id="still asleep"),
        pytest.param(-1, 0, "True", True, ("Unknown", "Queued", True), id="lost its replicas"),
        pytest.param(-1, 1, "False", True, (None, "", True), id="asleep with a replica"),
        pytest.param(-1, 1, "Unknown", False, ("True", "", True), id="first start"),
        pytest.param(-1, 0, "Unknown", False, ("Unknown", "Queued", False), id="starting"),
    ],
)
def test_active(want, ready, active, initialized, result):
    found = plan_active(POLICY, want=want, ready=ready, active=active, initialized=initialized)
    assert (found.status, found.text[0], found.initialized) == result


def test_zero_initial_scale_is_inactive_and_initialized():
    policy = Policy(initial_scale=0)
    found = plan_active(policy, want=-1, ready=0, active="Unknown", initialized=False)
    assert (found.status, found.text[0], found.initialized) == ("False", "NoTraffic", True)
