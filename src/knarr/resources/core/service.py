"""Service (``v1``)."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import (
    dns1035_label_problems,
    dns1123_label_problems,
    dns1123_subdomain_problems,
)
from knarr.meta.objects import Resource, Struct
from knarr.meta.qualified import qualified_name_problems
from knarr.resources.columns import get
from knarr.resources.core.addresses import PORT_RANGE_TEXT, PROTOCOLS, address_errors
from knarr.resources.core.container_validation import port_name_problems
from knarr.resources.core.references import Condition
from knarr.resources.core.service_columns import SERVICE_COLUMNS
from knarr.resources.fielderrors import (
    duplicate,
    duplicates,
    forbidden,
    invalid,
    not_supported,
    required,
)
from knarr.resources.kind import Admission, Kind
from knarr.resources.metadata import label_errors, metadata_errors

HEADLESS = "None"
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_POLICIES = ("Cluster", "Local")
_AFFINITIES = ("ClientIP", "None")
_AFFINITY_S, _MAX_AFFINITY_S = 10_800, 86_400


class ServicePort(Struct, frozen=True, kw_only=True):
    """A port of a Service and where it leads; ``targetPort`` is a number or a port's name."""

    name: str = ""
    protocol: str = ""
    app_protocol: str | None = None
    port: int = 0
    target_port: int | str | None = None
    node_port: int = 0


class ClientIpConfig(Struct, frozen=True, kw_only=True):
    """For how long, in seconds, a client that comes back reaches the same Pod."""

    timeout_seconds: int | None = None


class SessionAffinityConfig(Struct, frozen=True, kw_only=True):
    """Details of ``sessionAffinity: ClientIP``."""

    client_ip: ClientIpConfig | None = msgspec.field(default=None, name="clientIP")


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """``type`` is ClusterIP, NodePort, LoadBalancer or ExternalName; clusterIP ``None`` is headless."""

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] | None = None
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    type: str = ""
    session_affinity: str = ""
    session_affinity_config: SessionAffinityConfig | None = None
    external_name: str = ""
    publish_not_ready_addresses: bool = False
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str = ""
    allocate_load_balancer_node_ports: bool | None = None


class LoadBalancerIngress(Struct, frozen=True, kw_only=True):
    """An address at which a Service is reached from outside."""

    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None


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


def needs_address(spec: ServiceSpec) -> bool:
    """Whether the Service has a cluster IP, or ``None`` in its place."""
    return spec.type in {"", "ClusterIP", "NodePort", "LoadBalancer"}


def needs_node_ports(spec: ServiceSpec) -> bool:
    """Whether the Service is to be reached at ports of the node."""
    return spec.type in {"NodePort", "LoadBalancer"}


def default_service(service: Service, admission: Admission) -> Service:
    """Kubernetes' defaults; addresses and node ports are given out by the API server."""
    if admission.subresource:
        return service
    spec = service.spec or ServiceSpec()
    kind = spec.type or "ClusterIP"
    spec = replace(
        spec,
        type=kind,
        session_affinity=spec.session_affinity or "None",
        session_affinity_config=_default_affinity(spec),
        ports=tuple(_default_port(port, kind, spec.cluster_ip) for port in spec.ports),
    )
    if kind != "ExternalName":
        spec = replace(spec, internal_traffic_policy=spec.internal_traffic_policy or "Cluster")
    if needs_node_ports(spec):
        balanced = kind == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None
        spec = replace(
            spec,
            external_traffic_policy=spec.external_traffic_policy or "Cluster",
            allocate_load_balancer_node_ports=(
                True if balanced else spec.allocate_load_balancer_node_ports
            ),
        )
    status = service.status or ServiceStatus()
    if status.load_balancer is None:
        status = replace(status, load_balancer=LoadBalancerStatus())
    return replace(service, spec=spec, status=status)


def prepare_service(service: Service, _: Admission) -> Service:
    """The address as a list, and the address family."""
    spec = service.spec
    if spec is None or spec.type == "ExternalName":
        return service
    spec = replace(
        spec,
        cluster_ips=spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ()),
        ip_families=spec.ip_families or ("IPv4",),
        ip_family_policy=spec.ip_family_policy or "SingleStack",
    )
    return replace(service, spec=spec)


def _default_affinity(spec: ServiceSpec) -> SessionAffinityConfig | None:
    if spec.session_affinity != "ClientIP":
        return None
    client = (spec.session_affinity_config or SessionAffinityConfig()).client_ip
    seconds = client.timeout_seconds if client is not None else None
    seconds = _AFFINITY_S if seconds is None else seconds
    return SessionAffinityConfig(client_ip=ClientIpConfig(timeout_seconds=seconds))


def _default_port(port: ServicePort, kind: str, cluster_ip: str) -> ServicePort:
    target = port.target_port
    headless = kind == "ClusterIP" and cluster_ip == HEADLESS
    if target in {None, 0, ""} and (kind != "ExternalName" or headless):
        target = port.port
    return replace(port, protocol=port.protocol or "TCP", target_port=target)


def carried_over(spec: ServiceSpec, previous: ServiceSpec | None) -> ServiceSpec:
    """What a replaced Service keeps although the new one does not say so, and what it loses.

    Addresses and node ports that were given out stay (``patchAllocatedValues`` of Kubernetes); what only
    the former type has goes, unless it was changed by hand, which validation then refuses
    (``dropTypeDependentFields``).
    """
    if previous is None:
        return spec
    if not needs_address(spec):
        spec = _without_address(spec, previous)
    elif needs_address(previous) and not spec.cluster_ip:
        spec = replace(spec, cluster_ip=previous.cluster_ip, cluster_ips=previous.cluster_ips)
    elif spec.cluster_ip != previous.cluster_ip and spec.cluster_ips == previous.cluster_ips:
        spec = replace(spec, cluster_ips=(spec.cluster_ip,))
    given = {(port.protocol, port.port): port.node_port for port in previous.ports}
    if needs_node_ports(spec):
        return _with_former_ports(spec, given) if needs_node_ports(previous) else spec
    numbers = set(given.values())
    ports = tuple(
        replace(port, node_port=0) if port.node_port in numbers else port for port in spec.ports
    )
    spec = replace(spec, ports=ports)
    if spec.external_traffic_policy == previous.external_traffic_policy:
        spec = replace(spec, external_traffic_policy="")
    if spec.allocate_load_balancer_node_ports == previous.allocate_load_balancer_node_ports:
        spec = replace(spec, allocate_load_balancer_node_ports=None)
    return spec


def _without_address(spec: ServiceSpec, previous: ServiceSpec) -> ServiceSpec:
    same = {
        name: default
        for name, default in (
            ("cluster_ip", ""),
            ("cluster_ips", ()),
            ("ip_families", ()),
            ("ip_family_policy", None),
            ("internal_traffic_policy", None),
        )
        if getattr(spec, name) == getattr(previous, name)
    }
    return replace(spec, **same)


def _with_former_ports(spec: ServiceSpec, given: Mapping[tuple[str, int], int]) -> ServiceSpec:
    used = {port.node_port for port in spec.ports}
    ports = []
    for port in spec.ports:
        former = given.get((port.protocol, port.port), 0)
        keep = not port.node_port and former not in used
        ports.append(replace(port, node_port=former) if keep else port)
    return replace(spec, ports=tuple(ports))


def _name_problems(name: str) -> list[str]:
    return dns1123_label_problems(name) if name else []


def _port_errors(port: ServicePort, *, single: bool) -> list[FieldError]:
    errors = []
    if not port.name and not single:
        errors.append(required("name"))
    errors += [invalid("name", port.name, text) for text in _name_problems(port.name)]
    errors += [
        invalid("appProtocol", port.app_protocol, text)
        for text in (qualified_name_problems(port.app_protocol) if port.app_protocol else ())
    ]
    if not 1 <= port.port <= 65535:
        errors.append(invalid("port", port.port, PORT_RANGE_TEXT))
    if port.protocol not in {"", *PROTOCOLS}:
        errors.append(not_supported("protocol", port.protocol, PROTOCOLS))
    target = port.target_port
    if not 0 <= port.node_port <= 65535:
        errors.append(invalid("nodePort", port.node_port, PORT_RANGE_TEXT))
    if isinstance(target, int) and not 0 <= target <= 65535:
        errors.append(invalid("targetPort", target, PORT_RANGE_TEXT))
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
    return [*errors, *_affinity_errors(spec), *_address_errors(spec), *_traffic_errors(spec)]


def _affinity_errors(spec: ServiceSpec) -> list[FieldError]:
    if spec.session_affinity not in {"", *_AFFINITIES}:
        return [not_supported("sessionAffinity", spec.session_affinity, _AFFINITIES)]
    config = spec.session_affinity_config
    if spec.session_affinity == "ClientIP" and config is not None and config.client_ip is not None:
        seconds = config.client_ip.timeout_seconds or 0
        if not 0 < seconds <= _MAX_AFFINITY_S:
            text = f"must be greater than 0 and less than {_MAX_AFFINITY_S}"
            path = "sessionAffinityConfig.clientIP.timeoutSeconds"
            return [invalid(path, seconds, text)]
    return []


def _address_errors(spec: ServiceSpec) -> list[FieldError]:
    errors = []
    if not needs_address(spec):
        if spec.cluster_ip:
            text = "may not be set when `type` is 'ExternalName'"
            errors.append(forbidden("clusterIPs[0]", text))
        return errors
    first = spec.cluster_ips[0] if spec.cluster_ips else ""
    if first and not spec.cluster_ip:
        text = "must be empty when `clusterIP` is not specified"
        errors.append(invalid("clusterIPs", list(spec.cluster_ips), text))
    elif first != spec.cluster_ip:
        text = "first value must match `clusterIP`"
        errors.append(invalid("clusterIPs", list(spec.cluster_ips), text))
    if len(spec.cluster_ips) > 1:
        text = "may only hold up to 1 value: Services have one IPv4 address"
        errors.append(invalid("clusterIPs", list(spec.cluster_ips), text))
    if spec.cluster_ip == HEADLESS:
        if needs_node_ports(spec):
            text = f"may not be set to 'None' for {spec.type} services"
            errors.append(invalid("clusterIPs[0]", spec.cluster_ip, text))
    elif spec.cluster_ip:
        errors += address_errors("clusterIPs[0]", spec.cluster_ip, 4)
    return errors


def _traffic_errors(spec: ServiceSpec) -> list[FieldError]:
    errors = _family_errors(spec)
    if spec.internal_traffic_policy not in {None, *_POLICIES}:
        errors.append(
            not_supported("internalTrafficPolicy", spec.internal_traffic_policy, _POLICIES)
        )
    if not needs_node_ports(spec):
        if spec.external_traffic_policy:
            text = "may only be set for externally-accessible services"
            errors.append(invalid("externalTrafficPolicy", spec.external_traffic_policy, text))
        text = f"may not be used when `type` is '{spec.type}'"
        errors += [
            forbidden(f"ports[{index}].nodePort", text)
            for index, port in enumerate(spec.ports)
            if port.node_port
        ]
    elif spec.external_traffic_policy not in {"", *_POLICIES}:
        errors.append(
            not_supported("externalTrafficPolicy", spec.external_traffic_policy, _POLICIES)
        )
    if spec.allocate_load_balancer_node_ports is not None and spec.type != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        errors.append(forbidden("allocateLoadBalancerNodePorts", text))
    return errors


def _family_errors(spec: ServiceSpec) -> list[FieldError]:
    errors = []
    for index, family in enumerate(spec.ip_families):
        if family not in _FAMILIES:
            errors.append(not_supported(f"ipFamilies[{index}]", family, _FAMILIES))
        elif family != "IPv4":
            text = "not configured on this cluster"
            errors.append(invalid(f"ipFamilies[{index}]", family, text))
    if spec.ip_family_policy == "RequireDualStack":
        text = "this cluster is not configured for dual-stack services"
        errors.append(invalid("ipFamilyPolicy", spec.ip_family_policy, text))
    elif spec.ip_family_policy not in {None, *_FAMILY_POLICIES}:
        errors.append(not_supported("ipFamilyPolicy", spec.ip_family_policy, _FAMILY_POLICIES))
    return errors


def _warnings(spec: ServiceSpec) -> list[FieldError]:
    """A Service that asks for more than is done for it is stored, and said to be."""
    if spec.type != "LoadBalancer" or not spec.selector:
        return []
    text = (
        "type LoadBalancer: Knarr has no load balancer to give it an address; inside it is reached by its "
        "name, on this machine at its node ports"
    )
    return [FieldError(message=text, paths=("spec.type",), level="warning")]


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
    return (*errors, *_warnings(spec))


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
    prepare=prepare_service,
    validate=validate_service,
    selectable={
        "spec.clusterIP": lambda doc: get(doc, "spec", "clusterIP") or "",
        "spec.type": lambda doc: get(doc, "spec", "type") or "",
    },
)
