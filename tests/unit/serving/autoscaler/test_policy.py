"""Annotations with Knative's meanings."""

import pytest

from knarr.resources.config.autoscaler import AutoscalerConfig
from knarr.serving.autoscaler.policy import PREFIX, resolve_policy


def policy(annotations=None, concurrency=0, reachability="", config=None):
    return resolve_policy(
        config or AutoscalerConfig(),
        {PREFIX + key: value for key, value in (annotations or {}).items()},
        container_concurrency=concurrency,
        reachability=reachability,
        progress_deadline_s=600,
    )


@pytest.mark.parametrize(
    ("annotations", "concurrency", "target", "total"),
    [
        pytest.param({}, 0, 70, 100, id="default"),
        pytest.param({}, 10, 7, 10, id="hard limit"),
        pytest.param({"target": "50"}, 0, 35, 50, id="annotation"),
        pytest.param({"target": "50"}, 10, 7, 10, id="annotation above the hard limit"),
        pytest.param({"target": "5"}, 10, 3.5, 5, id="annotation below the hard limit"),
        pytest.param({"metric": "rps"}, 10, 140, 200, id="requests per second"),
        pytest.param({"metric": "rps", "target": "50"}, 10, 35, 50, id="rps ignores the limit"),
        pytest.param({"target-utilization-percentage": "50"}, 0, 50, 100, id="utilisation"),
        pytest.param({"targetUtilizationPercentage": "50"}, 0, 50, 100, id="legacy twin"),
        pytest.param({"target": "0.01"}, 0, 0.01, 0.01, id="never below the minimum"),
    ],
)
def test_targets(annotations, concurrency, target, total):
    spec = policy(annotations, concurrency).decider
    assert (spec.target, spec.total) == (pytest.approx(target), pytest.approx(total))


def test_windows_and_scales_come_from_annotations():
    found = policy(
        {
            "window": "40s",
            "panic-window-percentage": "12.0",
            "min-scale": "2",
            "maxScale": "9",
            "initial-scale": "3",
            "scale-down-delay": "15m",
            "metric-aggregation-algorithm": "weightedExponential",
            "scale-to-zero-pod-retention-period": "1m",
        }
    )
    assert (found.decider.stable_window_s, found.panic_window_s) == (40, 5)
    assert (found.min_scale, found.max_scale, found.initial_scale) == (2, 9, 3)
    assert (found.decider.scale_down_delay_s, found.retention_s) == (900, 60)
    assert found.algorithm == "weighted-exponential"
    assert found.activation_timeout_s == 630


def test_an_unreachable_revision_has_no_minimum_and_no_retention():
    found = policy(
        {"min-scale": "2", "scale-to-zero-pod-retention-period": "1m"}, reachability="Unreachable"
    )
    assert (found.min_scale, found.retention_s, found.decider.reachable) == (0, 0, False)


def test_zero_initial_scale_needs_the_clusters_permission():
    assert policy({"initial-scale": "0"}).initial_scale == 1
    allowed = AutoscalerConfig(allow_zero_initial_scale=True)
    assert policy({"initial-scale": "0"}, config=allowed).initial_scale == 0
