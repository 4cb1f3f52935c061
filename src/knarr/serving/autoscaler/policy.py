"""From ``config-autoscaler`` and a revision's annotations to the parameters of its autoscaling.

Pure. The annotation readers accept the legacy camelCase twins (Knative
``pkg/reconciler/autoscaling/resources``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from knarr.resources.config.autoscaler import TARGET_MIN, AutoscalerConfig
from knarr.serving.autoscaler.decider import DeciderSpec, Metric
from knarr.serving.autoscaler.window import Algorithm
from knarr.serving.values import (
    annotation_duration,
    annotation_float,
    annotation_int,
    annotation_text,
)

PREFIX = "autoscaling.knative.dev/"
ACTIVATION_BUFFER_S = 30

Reachability = Literal["", "Reachable", "Unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that governs one revision's scale.

    Attributes:
        decider: parameters of each decision.
        panic_window_s, algorithm: of the collector's windows; the stable one is in ``decider``.
        min_scale, max_scale: bounds; 0 as the upper one is none. The lower is 0 when unreachable.
        initial_scale: replicas that must be Ready once before the revision counts as started.
        enable_scale_to_zero, grace_s, retention_s: of the last replica's end.
        activation_timeout_s: after which a start that never succeeded is given up.
    """

    decider: DeciderSpec = field(default_factory=DeciderSpec)
    panic_window_s: int = 6
    algorithm: Algorithm = "linear"
    min_scale: int = 0
    max_scale: int = 0
    initial_scale: int = 1
    enable_scale_to_zero: bool = True
    grace_s: float = 30.0
    retention_s: float = 0.0
    activation_timeout_s: float = 600.0 + ACTIVATION_BUFFER_S
    unreachable: bool = False


def resolve_policy(
    config: AutoscalerConfig,
    annotations: Mapping[str, str],
    *,
    container_concurrency: int,
    reachability: Reachability,
    progress_deadline_s: float,
) -> Policy:
    """Merge the cluster's settings with a PodAutoscaler's annotations.

    Args:
        config: the cluster's settings.
        annotations: of the PodAutoscaler; values that do not parse count as absent, as they were
            refused at admission.
        container_concurrency: hard limit per replica, 0 is none.
        reachability: whether a route points at the revision; unknown counts as reachable.
        progress_deadline_s: the cluster's, for a revision without its own.
    """
    unreachable = reachability == "Unreachable"
    window_s = annotation_duration(annotations, f"{PREFIX}window", config.stable_window_s)
    panic = annotation_float(
        annotations, f"{PREFIX}panic-window-percentage", config.panic_window_percentage
    )
    low = 0 if unreachable else annotation_int(annotations, f"{PREFIX}min-scale", config.min_scale)
    retention_s = annotation_duration(
        annotations, f"{PREFIX}scale-to-zero-pod-retention-period", config.pod_retention_s
    )
    deadline_s = annotation_duration(
        annotations, "serving.knative.dev/progress-deadline", progress_deadline_s
    )
    return Policy(
        decider=_decider_spec(
            config, annotations, container_concurrency, round(window_s), reachable=not unreachable
        ),
        panic_window_s=max(1, round(window_s * panic / 100)),
        algorithm=_algorithm(annotations),
        min_scale=low,
        max_scale=annotation_int(annotations, f"{PREFIX}max-scale", config.max_scale),
        initial_scale=resolve_initial_scale(config, annotations),
        enable_scale_to_zero=config.enable_scale_to_zero,
        grace_s=config.scale_to_zero_grace_s,
        retention_s=0.0 if unreachable else retention_s,
        activation_timeout_s=deadline_s + ACTIVATION_BUFFER_S,
        unreachable=unreachable,
    )


def resolve_initial_scale(config: AutoscalerConfig, annotations: Mapping[str, str]) -> int:
    """Replicas that a new revision starts with."""
    wanted = annotation_int(annotations, f"{PREFIX}initial-scale", config.initial_scale)
    if wanted == 0 and not config.allow_zero_initial_scale:
        return config.initial_scale
    return wanted


def _algorithm(annotations: Mapping[str, str]) -> Algorithm:
    name = annotation_text(annotations, f"{PREFIX}metric-aggregation-algorithm", "linear")
    weighted = name in {"weighted-exponential", "weightedExponential"}
    return "weighted-exponential" if weighted else "linear"


def _decider_spec(
    config: AutoscalerConfig,
    annotations: Mapping[str, str],
    container_concurrency: int,
    window_s: int,
    *,
    reachable: bool,
) -> DeciderSpec:
    metric: Metric = (
        "rps" if annotation_text(annotations, f"{PREFIX}metric", "") == "rps" else "concurrency"
    )
    if metric == "rps":
        total, fraction = config.rps_target, 0.7
    else:
        total = float(container_concurrency) or config.concurrency_target
        fraction = config.target_fraction
    own = annotation_float(annotations, f"{PREFIX}target", 0.0)
    if own > 0:
        limited = metric == "concurrency" and container_concurrency > 0
        total = min(own, float(container_concurrency)) if limited else own
    percent = annotation_float(
        annotations, f"{PREFIX}target-utilization-percentage", fraction * 100
    )
    return DeciderSpec(
        metric=metric,
        target=max(TARGET_MIN, total * percent / 100),
        total=total,
        burst_capacity=annotation_float(
            annotations, f"{PREFIX}target-burst-capacity", config.target_burst_capacity
        ),
        max_up_rate=config.max_scale_up_rate,
        max_down_rate=config.max_scale_down_rate,
        panic_threshold=annotation_float(
            annotations, f"{PREFIX}panic-threshold-percentage", config.panic_threshold_percentage
        )
        / 100,
        stable_window_s=window_s,
        scale_down_delay_s=round(
            annotation_duration(annotations, f"{PREFIX}scale-down-delay", config.scale_down_delay_s)
        ),
        activation_scale=annotation_int(annotations, f"{PREFIX}activation-scale", 0),
        reachable=reachable,
    )
