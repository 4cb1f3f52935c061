"""Pod (``v1``)."""

import msgspec

from knarr.meta.objects import Resource, Struct
from knarr.resources.core.container import ContainerStatus
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.references import Condition
from knarr.resources.kind import Kind


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
)
