"""Service (``v1``)."""

from collections.abc import Mapping

import msgspec

from knarr.meta.objects import Resource, Struct
from knarr.resources.core.references import Condition
from knarr.resources.kind import Kind


class ServicePort(Struct, frozen=True, kw_only=True):
    """A port of a Service and where it leads; ``targetPort`` is a number or a port's name."""

    name: str = ""
    protocol: str = ""
    app_protocol: str | None = None
    port: int = 0
    target_port: int | str | None = None
    node_port: int = 0


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """``type`` is ClusterIP, NodePort, LoadBalancer or ExternalName; clusterIP ``None`` is headless."""

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] | None = None
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    type: str = ""
    session_affinity: str = ""
    external_name: str = ""
    publish_not_ready_addresses: bool = False
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    internal_traffic_policy: str | None = None


class LoadBalancerIngress(Struct, frozen=True, kw_only=True):
    """An address at which a Service is reached from outside."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Struct, frozen=True, kw_only=True):
    """The addresses at which a Service is reached from outside."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Struct, frozen=True, kw_only=True):
    """How a Service is reached."""

    load_balancer: LoadBalancerStatus | None = None
    conditions: tuple[Condition, ...] = ()


class Service(Resource, frozen=True, kw_only=True):
    """A name under which Pods are reached. The serving Service of Knative is another kind."""

    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


SERVICE: Kind[Service] = Kind(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    builtin=True,
    model=Service,
)
