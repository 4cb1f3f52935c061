"""From ``config-autoscaler`` and a revision's annotations to the parameters of its autoscaling.

Three steps, all pure: ``parse_config`` reads the ConfigMap with Knative's keys, defaults and error
texts; the annotation readers accept the legacy camelCase twins; ``resolve_policy`` merges the two
(Knative ``pkg/autoscaler/config``, ``pkg/reconciler/autoscaling/resources``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from knarr.serving.autoscaler.decider import DeciderSpec, Metric
from knarr.serving.autoscaler.window import Algorithm
from knarr.serving.values import (
    ConfigError,
    ConfigReader,
    annotation_duration,
    annotation_float,
    annotation_int,
    annotation_text,
)

PREFIX = "autoscaling.knative.dev/"
KPA_CLASS = "kpa.autoscaling.knative.dev"
TARGET_MIN = 0.01
WINDOW_MIN_S, WINDOW_MAX_S = 6, 3600
ACTIVATION_BUFFER_S = 30

Reachability = Literal["", "Reachable", "Unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalerConfig:
    """``config-autoscaler``; durations in seconds, fractions instead of percentages where named so."""

    pod_autoscaler_class: str = KPA_CLASS
    enable_scale_to_zero: bool = True
    allow_zero_initial_scale: bool = False
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    target_fraction: float = 0.7
    concurrency_target: float = 100.0
    rps_target: float = 200.0
    target_burst_capacity: float = 211.0
    panic_window_percentage: float = 10.0
    activator_capacity: float = 100.0
    panic_threshold_percentage: float = 200.0
    initial_scale: int = 1
    min_scale: int = 0
    max_scale: int = 0
    max_scale_limit: int = 0
    stable_window_s: float = 60.0
    scale_down_delay_s: float = 0.0
    scale_to_zero_grace_s: float = 30.0
    pod_retention_s: float = 0.0


def parse_config(data: Mapping[str, str]) -> AutoscalerConfig:
    """Read ``config-autoscaler``.

    Raises:
        ConfigError: a value does not parse or is out of bounds; names the key.
    """
    read = ConfigReader(data)
    fraction = read.number("container-concurrency-target-percentage", 0.7)
    config = AutoscalerConfig(
        pod_autoscaler_class=read.text("pod-autoscaler-class", KPA_CLASS),
        enable_scale_to_zero=read.flag("enable-scale-to-zero", default=True),
        allow_zero_initial_scale=read.flag("allow-zero-initial-scale", default=False),
        max_scale_up_rate=read.number("max-scale-up-rate", 1000.0),
        max_scale_down_rate=read.number("max-scale-down-rate", 2.0),
        target_fraction=fraction / 100 if fraction > 1 else fraction,
        concurrency_target=read.number("container-concurrency-target-default", 100.0),
        rps_target=read.number("requests-per-second-target-default", 200.0),
        target_burst_capacity=read.number("target-burst-capacity", 211.0),
        panic_window_percentage=read.number("panic-window-percentage", 10.0),
        activator_capacity=read.number("activator-capacity", 100.0),
        panic_threshold_percentage=read.number("panic-threshold-percentage", 200.0),
        initial_scale=read.integer("initial-scale", 1),
        min_scale=read.integer("min-scale", 0),
        max_scale=read.integer("max-scale", 0),
        max_scale_limit=read.integer("max-scale-limit", 0),
        stable_window_s=read.duration("stable-window", 60.0),
        scale_down_delay_s=read.duration("scale-down-delay", 0.0),
        scale_to_zero_grace_s=read.duration("scale-to-zero-grace-period", 30.0),
        pod_retention_s=read.duration("scale-to-zero-pod-retention-period", 0.0),
    )
    _check_rates(config)
    _check_times(config)
    _check_scales(config)
    return config


def _check(*, holds: bool, text: str) -> None:
    if not holds:
        raise ConfigError(text)


def _check_rates(config: AutoscalerConfig) -> None:
    burst = config.target_burst_capacity
    _check(
        holds=burst >= 0 or burst == -1,
        text="target-burst-capacity must be either non-negative or -1 (for unlimited), "
        f"was: {burst:f}",
    )
    fraction = config.target_fraction
    _check(
        holds=0 < fraction <= 1,
        text=f"container-concurrency-target-percentage = {fraction:f} is outside of valid range "
        "of (0, 100]",
    )
    product = fraction * config.concurrency_target
    _check(
        holds=product >= TARGET_MIN,
        text="container-concurrency-target-percentage and container-concurrency-target-default "
        f"yield target concurrency of {product:g}, can't be less than {TARGET_MIN}",
    )
    _check(
        holds=config.rps_target >= TARGET_MIN,
        text=f"requests-per-second-target-default must be at least {TARGET_MIN}, "
        f"was: {config.rps_target:g}",
    )
    _check(
        holds=config.activator_capacity >= 1,
        text=f"activator-capacity = {config.activator_capacity:g}, must be at least 1",
    )
    for key, rate in (
        ("max-scale-up-rate", config.max_scale_up_rate),
        ("max-scale-down-rate", config.max_scale_down_rate),
    ):
        _check(holds=rate > 1, text=f"{key} = {rate:g}, must be greater than 1.0")
    percentage = config.panic_window_percentage
    _check(
        holds=1 <= percentage <= 100,
        text=f"panic-window-percentage = {percentage:g}, must be in [1, 100] interval",
    )


def _check_times(config: AutoscalerConfig) -> None:
    grace, delay = config.scale_to_zero_grace_s, config.scale_down_delay_s
    retention, window = config.pod_retention_s, config.stable_window_s
    _check(holds=grace > 0, text=f"scale-to-zero-grace-period must be positive, was: {grace:g}s")
    _check(holds=delay >= 0, text=f"scale-down-delay cannot be negative, was: {delay:g}s")
    precise = "must be specified with at most second precision"
    _check(holds=delay == int(delay), text=f"scale-down-delay = {delay:g}s, {precise}")
    _check(
        holds=retention >= 0,
        text=f"scale-to-zero-pod-retention-period cannot be negative, was: {retention:g}s",
    )
    _check(
        holds=WINDOW_MIN_S <= window <= WINDOW_MAX_S,
        text=f"stable-window = {window:g}s, must be in [6s; 1h0m0s] range",
    )
    _check(holds=window == int(window), text=f"stable-window = {window:g}s, {precise}")


def _check_scales(config: AutoscalerConfig) -> None:
    low, high, limit = config.min_scale, config.max_scale, config.max_scale_limit
    _check(
        holds=config.initial_scale > 0
        or (config.initial_scale == 0 and config.allow_zero_initial_scale),
        text=f"initial-scale = {config.initial_scale}, must be at least 0 (or at least 1 when "
        "allow-zero-initial-scale is false)",
    )
    _check(holds=low >= 0, text=f"min-scale = {low}, must be at least 0")
    _check(holds=limit >= 0, text=f"max-scale-limit = {limit}, must be at least 0")
    least = 1 if limit > 0 else 0
    _check(
        holds=high >= least and (limit == 0 or high <= limit),
        text=f"max-scale = {high}, must be in [{least}, max-scale-limit({limit})] range",
    )
    _check(
        holds=high == 0 or low <= high,
        text=f"min-scale ({low}) must be less than max-scale ({high})",
    )


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
