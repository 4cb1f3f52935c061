"""Knative's labels and annotations: their keys, and the rules for what they may say.

Sources: Knative ``pkg/apis/serving/register.go``, ``pkg/apis/autoscaling/annotation_validation.go``,
``pkg/apis/serving/v1/revision_validation.go``, ``networking/pkg/apis/networking``.
"""

from collections.abc import Mapping

from knarr.meta.fielderrors import FieldError, invalid_key_name, invalid_value, out_of_bounds
from knarr.resources.config.values import parse_float
from knarr.resources.duration import SECOND_NS, parse_duration_ns
from knarr.resources.quantity import parse_quantity

GROUP = "serving.knative.dev"
AUTOSCALING_GROUP = "autoscaling.knative.dev"

SERVICE_LABEL = f"{GROUP}/service"
SERVICE_UID_LABEL = f"{GROUP}/serviceUID"
CONFIGURATION_LABEL = f"{GROUP}/configuration"
CONFIGURATION_UID_LABEL = f"{GROUP}/configurationUID"
CONFIGURATION_GENERATION_LABEL = f"{GROUP}/configurationGeneration"
REVISION_LABEL = f"{GROUP}/revision"
REVISION_UID_LABEL = f"{GROUP}/revisionUID"
ROUTE_LABEL = f"{GROUP}/route"
ROUTE_NAMESPACE_LABEL = f"{GROUP}/routeNamespace"
ROUTING_STATE_LABEL = f"{GROUP}/routingState"
DEPLOYMENT_HASH_LABEL = f"{GROUP}/deployment-hash"
ROUTING_STATE_MODIFIED = f"{GROUP}/routingStateModified"
ROUTES = f"{GROUP}/routes"
NO_GC = f"{GROUP}/no-gc"
CREATOR = f"{GROUP}/creator"
LAST_MODIFIER = f"{GROUP}/lastModifier"
INGRESS_CLASS = "networking.knative.dev/ingress-class"
INGRESS_CLASS_OLD = "networking.knative.dev/ingress.class"

ROLLOUT_DURATION = (f"{GROUP}/rollout-duration", f"{GROUP}/rolloutDuration")
PROGRESS_DEADLINE = (f"{GROUP}/progress-deadline",)

_QUEUE = f"queue.sidecar.{GROUP}"
_QUEUE_PERCENTAGE = (f"{_QUEUE}/resource-percentage", f"{_QUEUE}/resourcePercentage")
_QUEUE_QUANTITIES = tuple(
    f"{_QUEUE}/{name}-resource-{side}"
    for name in ("cpu", "memory", "ephemeral-storage")
    for side in ("request", "limit")
)
_NETWORKING = "networking.knative.dev"
_NETWORKING_KEYS = frozenset(
    f"{_NETWORKING}/{name}"
    for name in (
        "ingress-class",
        "ingress.class",
        "certificate-class",
        "certificate.class",
        "disable-auto-tls",
        "disableAutoTLS",
        "disable-external-domain-tls",
        "http-protocol",
        "httpOption",
    )
)

Annotations = Mapping[str, str]


def autoscaling_keys(name: str) -> tuple[str, str]:
    """The kebab-case key of an autoscaling annotation and its legacy camelCase twin."""
    first, *rest = name.split("-")
    camel = first + "".join(part.capitalize() for part in rest)
    return f"{AUTOSCALING_GROUP}/{name}", f"{AUTOSCALING_GROUP}/{camel}"


def lookup(annotations: Annotations | None, keys: tuple[str, ...]) -> tuple[str, str] | None:
    """The first of the keys that is there, and its value."""
    for key in keys:
        if annotations and key in annotations:
            return key, annotations[key]
    return None


def misplaced_errors(annotations: Annotations | None) -> list[FieldError]:
    """Autoscaling annotations where they have no effect; paths are relative to ``annotations``."""
    detail = (
        'autoscaling annotations must be put under "spec.template.metadata.annotations" to work'
    )
    return [
        invalid_key_name(key, "", detail)
        for key in annotations or {}
        if key.startswith(AUTOSCALING_GROUP)
    ]


def networking_errors(annotations: Annotations | None) -> list[FieldError]:
    """Networking annotations that nobody knows; paths are relative to ``annotations``."""
    return [
        invalid_key_name(key, "")
        for key in annotations or {}
        if key.startswith(_NETWORKING) and key not in _NETWORKING_KEYS
    ]


def _duration_errors(
    annotations: Annotations | None, keys: tuple[str, ...], name: str
) -> list[FieldError]:
    found = lookup(annotations, keys)
    if found is None or not found[1]:
        return []
    key, text = found
    try:
        duration = parse_duration_ns(text)
    except ValueError:
        return [invalid_value(text, key)]
    if duration % SECOND_NS:
        return [FieldError(message=f"{name}={text} is not at second precision", paths=(key,))]
    if duration < 0:
        return [FieldError(message=f"{name}={text} must be positive", paths=(key,))]
    return []


def rollout_duration_errors(annotations: Annotations | None) -> list[FieldError]:
    """The rollout-duration of a Service or Route; paths are relative to ``annotations``."""
    return _duration_errors(annotations, ROLLOUT_DURATION, "rollout-duration")


def progress_deadline_errors(annotations: Annotations | None) -> list[FieldError]:
    """The progress-deadline of a Revision; paths are relative to ``annotations``."""
    return _duration_errors(annotations, PROGRESS_DEADLINE, "progress-deadline")


def queue_errors(annotations: Annotations | None) -> list[FieldError]:
    """Resources of the queue-proxy, which Knarr does not have but still reads as Knative does."""
    errors: list[FieldError] = []
    percentage = lookup(annotations, _QUEUE_PERCENTAGE)
    if percentage is not None:
        errors += _percentage_errors(*percentage)
    for key in _QUEUE_QUANTITIES:
        found = lookup(annotations, (key,))
        if found is None:
            continue
        try:
            parse_quantity(found[1])
        except ValueError:
            errors.append(invalid_value(found[1], f"[{key}]"))
    return errors


def _percentage_errors(key: str, text: str) -> list[FieldError]:
    path = f"[{key}]"
    warning = FieldError(
        message="Queue proxy resource percentage annotation is deprecated. Please use the available "
        "annotations to explicitly set resource values per service",
        paths=(),
        level="warning",
    )
    try:
        value = parse_float(text)
    except ValueError:
        return [warning, invalid_value(text, path)]
    if not 0.1 <= value <= 100:
        return [warning, out_of_bounds(f"{value:g}", 0.1, 100, path)]
    return [warning]
