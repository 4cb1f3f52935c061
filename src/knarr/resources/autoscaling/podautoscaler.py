"""PodAutoscaler (``autoscaling.internal.knative.dev/v1alpha1``)."""

import re

from msgspec.structs import replace

from knarr.meta.conditions import ConditionSet
from knarr.meta.fielderrors import FieldError, at, invalid_value, missing
from knarr.meta.names import dns1123_label_problems
from knarr.meta.objects import Resource, Struct
from knarr.meta.qualified import qualified_name_problems
from knarr.resources.columns import READY, REASON, text
from knarr.resources.config.autoscaler import HPA_CLASS, KPA_CLASS
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.knative import Status
from knarr.resources.serving.autoscaling_annotations import CLASS, METRIC
from knarr.resources.serving.configs import WEBHOOK, configs_of
from knarr.resources.serving.metadata import object_errors
from knarr.resources.serving.podspec_validation import concurrency_errors

_C_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_C_IDENTIFIER_TEXT = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of "
    "alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for "
    "validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
_METRICS = {KPA_CLASS: "concurrency", HPA_CLASS: "cpu"}

POD_AUTOSCALER_CONDITIONS = ConditionSet(("Active", "ScaleTargetInitialized", "SKSReady"))


class ScaleTargetRef(Struct, frozen=True, kw_only=True):
    """The object with a ``scale`` subresource that is scaled, in the same namespace."""

    api_version: str = ""
    kind: str = ""
    name: str = ""


class PodAutoscalerSpec(Struct, frozen=True, kw_only=True):
    """``reachability`` is empty, Reachable or Unreachable; ``protocolType`` is http1 or h2c."""

    container_concurrency: int = 0
    scale_target_ref: ScaleTargetRef | None = None
    reachability: str = ""
    protocol_type: str = ""


class PodAutoscalerStatus(Status, frozen=True, kw_only=True):
    """What the autoscaler wants and what there is; -1 means not decided yet."""

    service_name: str = ""
    metrics_service_name: str = ""
    desired_scale: int | None = None
    actual_scale: int | None = None


class PodAutoscaler(Resource, frozen=True, kw_only=True):
    """Scales the Pods of one revision."""

    spec: PodAutoscalerSpec | None = None
    status: PodAutoscalerStatus | None = None


def default_pod_autoscaler(subject: PodAutoscaler, admission: Admission) -> PodAutoscaler:
    """The class from the ConfigMap, the metric from the class."""
    if admission.subresource:
        return subject
    annotations = dict(subject.metadata.annotations or {})
    annotations.setdefault(CLASS, configs_of(admission).autoscaler.pod_autoscaler_class)
    annotations.setdefault(METRIC, _METRICS.get(annotations[CLASS], ""))
    return replace(subject, metadata=replace(subject.metadata, annotations=annotations))


def _reference_errors(reference: ScaleTargetRef) -> list[FieldError]:
    identifier = [] if _C_IDENTIFIER.fullmatch(reference.kind) else [_C_IDENTIFIER_TEXT]
    fields = (
        ("apiVersion", reference.api_version, qualified_name_problems(reference.api_version)),
        ("kind", reference.kind, identifier),
        ("name", reference.name, dns1123_label_problems(reference.name)),
    )
    errors = []
    for name, value, problems in fields:
        if not value:
            errors.append(missing(name))
        elif problems:
            errors.append(invalid_value(", ".join(problems), name))
    return errors


def validate_pod_autoscaler(subject: PodAutoscaler, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    configs = configs_of(admission)
    errors = list(at("metadata", object_errors(subject.metadata, configs.autoscaler)))
    spec = subject.spec or PodAutoscalerSpec()
    if spec == PodAutoscalerSpec():
        return (*errors, missing("spec"))
    found = list(at("scaleTargetRef", _reference_errors(spec.scale_target_ref or ScaleTargetRef())))
    found += concurrency_errors(spec.container_concurrency, configs.defaults)
    if not spec.protocol_type:
        found.append(missing("protocolType"))
    elif spec.protocol_type not in {"http1", "h2c"}:
        found.append(invalid_value(spec.protocol_type, "protocolType"))
    return (*errors, *at("spec", found))


POD_AUTOSCALER: Kind[PodAutoscaler] = Kind(
    group="autoscaling.internal.knative.dev",
    version="v1alpha1",
    kind="PodAutoscaler",
    plural="podautoscalers",
    singular="podautoscaler",
    short_names=("kpa", "pa"),
    categories=("knative-internal", "autoscaling"),
    webhook=WEBHOOK,
    model=PodAutoscaler,
    columns=(
        Column("DesiredScale", "integer", text("status", "desiredScale")),
        Column("ActualScale", "integer", text("status", "actualScale")),
        READY,
        REASON,
    ),
    age=False,
    default=default_pod_autoscaler,
    validate=validate_pod_autoscaler,
)
