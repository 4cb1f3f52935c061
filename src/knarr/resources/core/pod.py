"""Pod (``v1``)."""

import msgspec
from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import get
from knarr.resources.core.container import ContainerStatus
from knarr.resources.core.pod_columns import POD_COLUMNS
from knarr.resources.core.pod_defaults import default_running_spec, qos_class
from knarr.resources.core.pod_validation import pod_spec_errors, pod_update_errors
from knarr.resources.core.podspec import PodSpec, Toleration
from knarr.resources.core.references import Condition
from knarr.resources.kind import Admission, Kind
from knarr.resources.metadata import metadata_errors

_AWAY_SECONDS = 300


class PodIp(Struct, frozen=True, kw_only=True):
    """One address of a Pod or of its node."""

    ip: str = ""


class PodStatus(Struct, frozen=True, kw_only=True):
    """What the node reports about a Pod; ``phase`` is Pending, Running, Succeeded, Failed or Unknown."""

    observed_generation: int = 0
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    message: str = ""
    reason: str = ""
    host_ip: str = msgspec.field(default="", name="hostIP")
    host_ips: tuple[PodIp, ...] = msgspec.field(default=(), name="hostIPs")
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[PodIp, ...] = msgspec.field(default=(), name="podIPs")
    start_time: str | None = None
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    qos_class: str = ""


class Pod(Resource, frozen=True, kw_only=True):
    """Containers that share a network namespace and volumes and live and end together."""

    spec: PodSpec | None = None
    status: PodStatus | None = None


def default_pod(pod: Pod, admission: Admission) -> Pod:
    """Kubernetes' defaults; a new Pod is Pending."""
    if admission.subresource:
        return pod
    spec = default_running_spec(pod.spec or PodSpec())
    status = pod.status
    if admission.operation == "CREATE" and status is None:
        status = PodStatus(phase="Pending", qos_class=qos_class(spec))
    return replace(pod, spec=spec, status=status)


def prepare_pod(pod: Pod, admission: Admission) -> Pod:
    """A new Pod tolerates a node that is away for five minutes, as in every cluster."""
    if admission.operation != "CREATE" or pod.spec is None:
        return pod
    given = pod.spec.tolerations
    missing = [
        Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=_AWAY_SECONDS)
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if not any(each.key in ("", key) and each.effect in ("", "NoExecute") for each in given)
    ]
    return replace(pod, spec=replace(pod.spec, tolerations=(*given, *missing)))


def validate_pod(pod: Pod, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; a Pod that exists hardly changes."""
    if admission.subresource:
        return ()
    errors = metadata_errors(pod.metadata)
    if isinstance(admission.old, Pod):
        return (*errors, *at("spec", pod_update_errors(admission.old.spec, pod.spec)))
    return (*errors, *at("spec", pod_spec_errors(pod.spec)))


POD: Kind[Pod] = Kind(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    builtin=True,
    durable=False,
    model=Pod,
    columns=POD_COLUMNS,
    age=False,
    default=default_pod,
    prepare=prepare_pod,
    validate=validate_pod,
    selectable={
        "spec.nodeName": lambda doc: get(doc, "spec", "nodeName") or "",
        "spec.restartPolicy": lambda doc: get(doc, "spec", "restartPolicy") or "",
        "spec.schedulerName": lambda doc: get(doc, "spec", "schedulerName") or "",
        "spec.serviceAccountName": lambda doc: get(doc, "spec", "serviceAccountName") or "",
        "spec.hostNetwork": lambda _: "false",
        "status.phase": lambda doc: get(doc, "status", "phase") or "",
        "status.podIP": lambda doc: get(doc, "status", "podIP") or "",
        "status.nominatedNodeName": lambda _: "",
    },
)
