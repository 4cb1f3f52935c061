"""PodAutoscaler (``autoscaling.internal.knative.dev/v1alpha1``)."""

from knarr.meta.conditions import ConditionSet
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Kind
from knarr.resources.knative import Status

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


POD_AUTOSCALER: Kind[PodAutoscaler] = Kind(
    group="autoscaling.internal.knative.dev",
    version="v1alpha1",
    kind="PodAutoscaler",
    plural="podautoscalers",
    singular="podautoscaler",
    short_names=("kpa", "pa"),
    categories=("knative-internal", "autoscaling"),
    model=PodAutoscaler,
)
