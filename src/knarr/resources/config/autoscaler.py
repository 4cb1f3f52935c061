"""``config-autoscaler`` (Knative ``pkg/autoscaler/config``)."""

from collections.abc import Mapping

import msgspec

from knarr.resources.config.values import ConfigError, ConfigReader, go_float
from knarr.resources.duration import SECOND_NS, format_duration

NAME = "config-autoscaler"
KPA_CLASS = "kpa.autoscaling.knative.dev"
HPA_CLASS = "hpa.autoscaling.knative.dev"
TARGET_MIN = 0.01
WINDOW_MIN_S, WINDOW_MAX_S = 6, 3600
_PRECISE = "must be specified with at most second precision"


class AutoscalerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults of autoscaling; durations in seconds, ``target_fraction`` between 0 and 1."""

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


def parse_autoscaler(data: Mapping[str, str]) -> AutoscalerConfig:
    """Read ``config-autoscaler``.

    Raises:
        ConfigError: a value does not parse or is out of bounds; names the key.
    """
    try:
        config = _read(ConfigReader(data))
    except ConfigError as error:
        raise ConfigError(f"failed to parse data: {error}") from None
    problem = (
        _time_problem(config)
        or _target_problem(config)
        or _window_problem(config)
        or _scale_problem(config)
    )
    if problem:
        raise ConfigError(problem)
    return config


def _read(read: ConfigReader) -> AutoscalerConfig:
    fraction = read.number(0.7, "container-concurrency-target-percentage")
    return AutoscalerConfig(
        pod_autoscaler_class=read.text(KPA_CLASS, "pod-autoscaler-class"),
        enable_scale_to_zero=read.flag("enable-scale-to-zero", default=True),
        allow_zero_initial_scale=read.flag("allow-zero-initial-scale", default=False),
        max_scale_up_rate=read.number(1000.0, "max-scale-up-rate"),
        max_scale_down_rate=read.number(2.0, "max-scale-down-rate"),
        target_fraction=fraction / 100 if fraction > 1 else fraction,
        concurrency_target=read.number(100.0, "container-concurrency-target-default"),
        rps_target=read.number(200.0, "requests-per-second-target-default"),
        target_burst_capacity=read.number(211.0, "target-burst-capacity"),
        panic_window_percentage=read.number(10.0, "panic-window-percentage"),
        activator_capacity=read.number(100.0, "activator-capacity"),
        panic_threshold_percentage=read.number(200.0, "panic-threshold-percentage"),
        initial_scale=read.integer(1, "initial-scale", bits=32),
        min_scale=read.integer(0, "min-scale", bits=32),
        max_scale=read.integer(0, "max-scale", bits=32),
        max_scale_limit=read.integer(0, "max-scale-limit", bits=32),
        stable_window_s=read.seconds(60, "stable-window"),
        scale_down_delay_s=read.seconds(0, "scale-down-delay"),
        scale_to_zero_grace_s=read.seconds(30, "scale-to-zero-grace-period"),
        pod_retention_s=read.seconds(0, "scale-to-zero-pod-retention-period"),
    )


def _shown(seconds: float) -> str:
    return format_duration(round(seconds * SECOND_NS))


def _time_problem(config: AutoscalerConfig) -> str:
    delay = config.scale_down_delay_s
    if config.scale_to_zero_grace_s <= 0:
        shown = _shown(config.scale_to_zero_grace_s)
        return f"scale-to-zero-grace-period must be positive, was: {shown}"
    if delay < 0:
        return f"scale-down-delay cannot be negative, was: {_shown(delay)}"
    if delay != int(delay):
        return f"scale-down-delay = {_shown(delay)}, {_PRECISE}"
    if config.pod_retention_s < 0:
        shown = _shown(config.pod_retention_s)
        return f"scale-to-zero-pod-retention-period cannot be negative, was: {shown}"
    return ""


def _target_problem(config: AutoscalerConfig) -> str:
    burst, fraction = config.target_burst_capacity, config.target_fraction
    target = fraction * config.concurrency_target
    checks = (
        (
            burst >= 0 or burst == -1,
            "target-burst-capacity must be either non-negative or -1 (for unlimited), "
            f"was: {burst:f}",
        ),
        (
            0 < fraction <= 1,
            f"container-concurrency-target-percentage = {fraction:f} is outside of valid range of "
            "(0, 100]",
        ),
        (
            target >= TARGET_MIN,
            "container-concurrency-target-percentage and container-concurrency-target-default "
            f"yield target concurrency of {go_float(target)}, can't be less than {TARGET_MIN}",
        ),
        (
            config.rps_target >= TARGET_MIN,
            f"requests-per-second-target-default must be at least {TARGET_MIN}, "
            f"was: {go_float(config.rps_target)}",
        ),
        (
            config.activator_capacity >= 1,
            f"activator-capacity = {go_float(config.activator_capacity)}, must be at least 1",
        ),
        (
            config.max_scale_up_rate > 1,
            f"max-scale-up-rate = {go_float(config.max_scale_up_rate)}, must be greater than 1.0",
        ),
        (
            config.max_scale_down_rate > 1,
            f"max-scale-down-rate = {go_float(config.max_scale_down_rate)}, "
            "must be greater than 1.0",
        ),
    )
    return next((text for holds, text in checks if not holds), "")


def _window_problem(config: AutoscalerConfig) -> str:
    window, panic = config.stable_window_s, config.panic_window_percentage
    if not WINDOW_MIN_S <= window <= WINDOW_MAX_S:
        return f"stable-window = {_shown(window)}, must be in [6s; 1h0m0s] range"
    if window != int(window):
        return f"stable-window = {_shown(window)}, {_PRECISE}"
    if not 1 <= panic <= 100:
        return f"panic-window-percentage = {go_float(panic)}, must be in [1, 100] interval"
    return ""


def _scale_problem(config: AutoscalerConfig) -> str:
    low, high, limit = config.min_scale, config.max_scale, config.max_scale_limit
    initial = config.initial_scale
    if initial < 0 or (initial == 0 and not config.allow_zero_initial_scale):
        return (
            f"initial-scale = {initial}, must be at least 0 (or at least 1 when "
            "allow-zero-initial-scale is false)"
        )
    if low < 0:
        return f"min-scale = {low}, must be at least 0"
    least = 1 if limit > 0 else 0
    if high < least or (limit > 0 and high > limit):
        return f"max-scale = {high}, must be in [{least}, max-scale-limit({limit})] range"
    if limit < 0:
        return f"max-scale-limit = {limit}, must be at least 0"
    if low > high > 0:
        return f"min-scale ({low}) must be less than max-scale ({high})"
    return ""
