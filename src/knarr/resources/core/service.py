"""Service (``v1``)."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1035_label_problems, dns1123_subdomain_problems
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import get
from knarr.resources.core.container_validation import port_name_problems
from knarr.resources.core.references import Condition
from knarr.resources.core.service_columns import SERVICE_COLUMNS
from knarr.resources.fielderrors import duplicate, duplicates, invalid, not_supported, required
from knarr.resources.kind import Admission, Kind
from knarr.resources.metadata import label_errors, metadata_errors

HEADLESS = "None"
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PORT_RANGE = "must be between 1 and 65535, inclusive"


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


def default_service(service: Service, admission: Admission) -> Service:
    """Kubernetes' defaults; addresses are given out by whoever routes them, not here."""
    if admission.subresource:
        return service
    spec = service.spec or ServiceSpec()
    kind = spec.type or "ClusterIP"
    spec = replace(
        spec,
        type=kind,
        session_affinity=spec.session_affinity or "None",
        ports=tuple(_default_port(port, kind, spec.cluster_ip) for port in spec.ports),
    )
    if kind != "ExternalName":
        addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
        spec = replace(
            spec,
            cluster_ips=addresses,
            ip_families=spec.ip_families or ("IPv4",),
            ip_family_policy=spec.ip_family_policy or "SingleStack",
            internal_traffic_policy=spec.internal_traffic_policy or "Cluster",
        )
    status = service.status or ServiceStatus()
    if status.load_balancer is None:
        status = replace(status, load_balancer=LoadBalancerStatus())
    return replace(service, spec=spec, status=status)


def _default_port(port: ServicePort, kind: str, cluster_ip: str) -> ServicePort:
    target = port.target_port
    headless = kind == "ClusterIP" and cluster_ip == HEADLESS
    if target in {None, 0, ""} and (kind != "ExternalName" or headless):
        target = port.port
    return replace(port, protocol=port.protocol or "TCP", target_port=target)


def _port_errors(port: ServicePort, *, single: bool) -> list[FieldError]:
    errors = []
    if not port.name and not single:
        errors.append(required("name"))
    if not 1 <= port.port <= 65535:
        errors.append(invalid("port", port.port, _PORT_RANGE))
    if port.protocol not in {"", *_PROTOCOLS}:
        errors.append(not_supported("protocol", port.protocol, _PROTOCOLS))
    target = port.target_port
    if isinstance(target, int) and not 0 <= target <= 65535:
        errors.append(invalid("targetPort", target, _PORT_RANGE))
    if isinstance(target, str) and target:
        errors += [invalid("targetPort", target, text) for text in port_name_problems(target)]
    return errors


def _ports_errors(ports: tuple[ServicePort, ...]) -> list[FieldError]:
    errors = duplicates("ports", [port.name for port in ports])
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        errors += at(f"ports[{index}]", _port_errors(port, single=len(ports) == 1))
        if (port.protocol, port.port) in seen:
            errors.append(duplicate(f"ports[{index}]", f"{port.protocol} {port.port}"))
        seen.add((port.protocol, port.port))
    return errors


def _spec_errors(spec: ServiceSpec) -> list[FieldError]:
    errors = label_errors(spec.selector, "selector")
    errors += _ports_errors(spec.ports)
    if spec.type not in {"", *_TYPES}:
        errors.append(not_supported("type", spec.type, _TYPES))
    if spec.type == "ExternalName":
        name = spec.external_name.removesuffix(".")
        if not name:
            errors.append(required("externalName"))
        else:
            problems = dns1123_subdomain_problems(name)
            errors += [invalid("externalName", spec.external_name, text) for text in problems]
    elif not spec.ports and spec.cluster_ip != HEADLESS:
        errors.append(required("ports"))
    if spec.session_affinity not in {"", "None"}:
        errors.append(not_supported("sessionAffinity", spec.session_affinity, ("None",)))
    return errors


def validate_service(service: Service, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules."""
    if admission.subresource:
        return ()
    errors = metadata_errors(service.metadata, dns1035_label_problems)
    spec = service.spec or ServiceSpec()
    errors += at("spec", _spec_errors(spec))
    old = admission.old.spec if isinstance(admission.old, Service) else None
    if (
        old is not None
        and "ExternalName" not in {old.type, spec.type}
        and old.cluster_ip
        and old.cluster_ip != spec.cluster_ip
    ):
        detail = "may not change once set"
        errors.append(invalid("spec.clusterIPs[0]", spec.cluster_ip, detail))
    return tuple(errors)


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
    age=False,
    columns=SERVICE_COLUMNS,
    default=default_service,
    validate=validate_service,
    selectable={
        "spec.clusterIP": lambda doc: get(doc, "spec", "clusterIP") or "",
        "spec.type": lambda doc: get(doc, "spec", "type") or "",
    },
)
