"""Rules for the autoscaling annotations of a Revision (Knative ``pkg/apis/autoscaling``)."""

from collections.abc import Callable, Mapping

from knarr.meta.fielderrors import FieldError, invalid_value, out_of_bounds
from knarr.resources.config.autoscaler import HPA_CLASS, KPA_CLASS, TARGET_MIN, AutoscalerConfig
from knarr.resources.config.values import parse_float, parse_int
from knarr.resources.duration import SECOND_NS, format_duration, parse_duration_ns
from knarr.resources.serving.annotations import AUTOSCALING_GROUP, autoscaling_keys, lookup

_MAX_INT32 = 2**31 - 1
_WINDOW_MIN_NS, _WINDOW_MAX_NS = 6 * SECOND_NS, 3600 * SECOND_NS
_PRECISE = "must be specified with at most second precision"
_ALGORITHMS = frozenset({"", "linear", "weighted-exponential", "weightedExponential"})

CLASS = f"{AUTOSCALING_GROUP}/class"
METRIC = f"{AUTOSCALING_GROUP}/metric"

Annotations = Mapping[str, str]


def autoscaling_errors(
    annotations: Annotations | None, config: AutoscalerConfig
) -> list[FieldError]:
    """What is wrong with the autoscaling annotations; paths are relative to ``annotations``."""
    given = annotations or {}
    if not any(key.startswith(AUTOSCALING_GROUP) for key in given):
        return []
    return [
        *_class_errors(given),
        *_scale_errors(given, config),
        *_number_errors(given),
        *_window_errors(given),
        *_retention_errors(given),
        *_delay_errors(given),
        *_metric_errors(given, config),
        *_algorithm_errors(given),
        *_initial_scale_errors(given, config),
    ]


def _class_errors(given: Annotations) -> list[FieldError]:
    name = given.get(CLASS)
    if name is None or name in {KPA_CLASS, HPA_CLASS}:
        return []
    return [invalid_value(name, CLASS)] if name.endswith(".knative.dev") else []


def _count(given: Annotations, name: str) -> tuple[int, list[FieldError]]:
    found = lookup(given, autoscaling_keys(name))
    if found is None:
        return 0, []
    key, text = found
    try:
        value = parse_int(text, 32)
    except ValueError as error:
        if "out of range" in str(error):
            return 0, [out_of_bounds(text, 0, _MAX_INT32, key)]
        return 0, [invalid_value(text, key)]
    return (value, []) if value >= 0 else (0, [out_of_bounds(text, 0, _MAX_INT32, key)])


def _scale_errors(given: Annotations, config: AutoscalerConfig) -> list[FieldError]:
    low, errors = _count(given, "min-scale")
    high, more = _count(given, "max-scale")
    errors += more
    max_key, min_key = autoscaling_keys("max-scale")[0], autoscaling_keys("min-scale")[0]
    if high != 0 and high < low:
        text = f"max-scale={high} is less than min-scale={low}"
        errors.append(FieldError(message=text, paths=(max_key, min_key)))
    found = lookup(given, autoscaling_keys("max-scale"))
    limit = config.max_scale_limit
    if found is not None and limit != 0:
        if high > limit:
            errors.append(out_of_bounds(high, 1, limit, found[0]))
        if high == 0:
            text = f"max-scale=0 (unlimited), must be less than {limit}"
            errors.append(FieldError(message=text, paths=(found[0],)))
    return errors + _activation_errors(given, low, high)


def _activation_errors(given: Annotations, low: int, high: int) -> list[FieldError]:
    key = autoscaling_keys("activation-scale")[0]
    if key not in given:
        return []
    try:
        scale = parse_int(given[key], 32)
    except ValueError:
        return [invalid_value(given[key], key)]
    if low > scale:
        text = f"min-scale={low} is greater than activation-scale={scale}"
    elif 0 != high < scale:
        text = f"max-scale={high} is less than activation-scale={scale}"
    elif scale < 2:
        text = f"activation-scale={scale} must be greater than 1"
    else:
        return []
    return [FieldError(message=text, paths=(key,))]


def _number_errors(given: Annotations) -> list[FieldError]:
    rules: dict[str, Callable[[str, float, str], FieldError | None]] = {
        "panic-window-percentage": _within(1, 100),
        "panic-threshold-percentage": _within(110, 1000),
        "target": _target_error,
        "target-utilization-percentage": _within(1, 100),
        "target-burst-capacity": _burst_error,
    }
    errors = []
    for name, rule in rules.items():
        keys = autoscaling_keys(name) if name != "target" else (f"{AUTOSCALING_GROUP}/target",)
        found = lookup(given, keys)
        if found is None:
            continue
        key, text = found
        try:
            error = rule(text, parse_float(text), key)
        except ValueError:
            error = invalid_value(text, key)
        if error is not None:
            errors.append(error)
    return errors


def _within(low: int, high: int) -> Callable[[str, float, str], FieldError | None]:
    def rule(text: str, value: float, key: str) -> FieldError | None:
        return None if low <= value <= high else out_of_bounds(text, low, high, key)

    return rule


def _target_error(text: str, value: float, key: str) -> FieldError | None:
    if value >= TARGET_MIN:
        return None
    return FieldError(message=f"target {text} should be at least {TARGET_MIN:g}", paths=(key,))


def _burst_error(text: str, value: float, key: str) -> FieldError | None:
    return None if value >= 0 or value == -1 else invalid_value(text, key)


def _window_errors(given: Annotations) -> list[FieldError]:
    key = f"{AUTOSCALING_GROUP}/window"
    if key not in given:
        return []
    return _span_errors(given[key], key, _WINDOW_MIN_NS, precise=True)


def _retention_errors(given: Annotations) -> list[FieldError]:
    found = lookup(given, autoscaling_keys("scale-to-zero-pod-retention-period"))
    return _span_errors(found[1], found[0], 0, precise=False) if found else []


def _delay_errors(given: Annotations) -> list[FieldError]:
    found = lookup(given, autoscaling_keys("scale-down-delay"))
    return _span_errors(found[1], found[0], 0, precise=True) if found else []


def _span_errors(text: str, key: str, least_ns: int, *, precise: bool) -> list[FieldError]:
    try:
        duration = parse_duration_ns(text)
    except ValueError:
        return [invalid_value(text, key)]
    if not least_ns <= duration <= _WINDOW_MAX_NS:
        low, high = format_duration(least_ns), format_duration(_WINDOW_MAX_NS)
        return [out_of_bounds(text, low, high, key)]
    if precise and duration % SECOND_NS:
        return [FieldError(message=_PRECISE, paths=(key,))]
    return []


def _metric_errors(given: Annotations, config: AutoscalerConfig) -> list[FieldError]:
    metric = given.get(METRIC)
    if metric is None:
        return []
    name = given.get(CLASS, config.pod_autoscaler_class)
    fine = {KPA_CLASS: metric in {"concurrency", "rps"}, HPA_CLASS: metric != ""}
    return [] if fine.get(name, True) else [invalid_value(metric, METRIC)]


def _algorithm_errors(given: Annotations) -> list[FieldError]:
    found = lookup(given, autoscaling_keys("metric-aggregation-algorithm"))
    if given.get(CLASS) != KPA_CLASS or found is None or found[1] in _ALGORITHMS:
        return []
    return [invalid_value(found[1], found[0])]


def _initial_scale_errors(given: Annotations, config: AutoscalerConfig) -> list[FieldError]:
    found = lookup(given, autoscaling_keys("initial-scale"))
    if found is None:
        return []
    key, text = found
    try:
        scale = parse_int(text)
    except ValueError:
        return [invalid_value(text, key)]
    if scale < 0:
        return [invalid_value(text, f"{key} must be greater than 0")]
    if scale == 0 and not config.allow_zero_initial_scale:
        return [invalid_value(text, f"{key}=0 not allowed by cluster")]
    return []
