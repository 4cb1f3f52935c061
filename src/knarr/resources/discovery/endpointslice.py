"""EndpointSlice (``discovery.k8s.io/v1``)."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1123_label_problems, dns1123_subdomain_problems
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import get, items, text
from knarr.resources.core.addresses import address_errors, port_errors, protocol_errors
from knarr.resources.core.references import ObjectReference
from knarr.resources.fielderrors import IMMUTABLE, duplicate, invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""Names the Service that a slice belongs to."""

MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
_TYPES = ("FQDN", "IPv4", "IPv6")
_UNSET = "<unset>"
_SHOWN = 3


class EndpointConditions(Struct, frozen=True, kw_only=True):
    """``serving`` is the Pod's readiness alone, ``ready`` also asks that it is not ending."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """One endpoint; several addresses mean the same."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions | None = None
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None


class SlicePort(Struct, frozen=True, kw_only=True):
    """A port of every endpoint of the slice; no number means all ports."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(Resource, frozen=True, kw_only=True):
    """A part of the endpoints of a Service, all with the same ports."""

    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[SlicePort, ...] | None = None


def default_endpoint_slice(subject: EndpointSlice, _: Admission) -> EndpointSlice:
    """TCP, and lists that are there even when they are empty."""
    ports = tuple(
        replace(
            port,
            name=port.name or "",
            protocol=port.protocol or "TCP",
        )
        for port in subject.ports or ()
    )
    return replace(subject, endpoints=subject.endpoints or (), ports=ports)


def _endpoint_errors(endpoint: Endpoint, address_type: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not endpoint.addresses:
        errors.append(required("addresses", "must contain at least 1 address"))
    if len(endpoint.addresses) > MAX_ADDRESSES:
        errors.append(_too_many("addresses", len(endpoint.addresses), MAX_ADDRESSES))
    for index, address in enumerate(endpoint.addresses):
        path = f"addresses[{index}]"
        match address_type:
            case "IPv4" | "IPv6":
                errors += address_errors(path, address, int(address_type[-1]))
            case "FQDN":
                problems = dns1123_subdomain_problems(address)
                errors += [invalid(path, address, problem) for problem in problems]
            case _:
                continue
    if endpoint.hostname is not None:
        problems = dns1123_label_problems(endpoint.hostname)
        errors += [invalid("hostname", endpoint.hostname, problem) for problem in problems]
    return errors


def _too_many(path: str, count: int, limit: int) -> FieldError:
    return FieldError(
        message=f"Too many: {count}",
        paths=(path,),
        details=f"must have at most {limit} items",
        reason="FieldValueTooMany",
    )


def _ports_errors(ports: Sequence[SlicePort]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"ports[{index}]", port.name or ""
        if name in seen:
            errors.append(duplicate(f"{path}.name", name))
        seen.add(name)
        if name:
            problems = dns1123_label_problems(name)
            errors += [invalid(f"{path}.name", name, problem) for problem in problems]
        errors += protocol_errors(f"{path}.protocol", port.protocol)
        if port.port is not None:
            errors += port_errors(f"{path}.port", port.port)
    return errors


def validate_endpoint_slice(subject: EndpointSlice, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; the type of address never changes."""
    errors = metadata_errors(subject.metadata)
    if not subject.address_type:
        errors.append(required("addressType"))
    elif subject.address_type not in _TYPES:
        errors.append(not_supported("addressType", subject.address_type, _TYPES))
    old = admission.old
    if isinstance(old, EndpointSlice) and old.address_type != subject.address_type:
        errors.append(invalid("addressType", subject.address_type, IMMUTABLE))
    endpoints = subject.endpoints or ()
    if len(endpoints) > MAX_ENDPOINTS:
        errors.append(_too_many("endpoints", len(endpoints), MAX_ENDPOINTS))
    for index, endpoint in enumerate(endpoints):
        errors += at(f"endpoints[{index}]", _endpoint_errors(endpoint, subject.address_type))
    return (*errors, *_ports_errors(subject.ports or ()))


def _shortened(found: list[str]) -> str:
    shown = ",".join(found[:_SHOWN])
    return f"{shown} + {len(found) - _SHOWN} more..." if len(found) > _SHOWN else shown


def _ports_cell(document: Mapping[str, Any], _: float) -> object:
    ports = [str(get(port, "port") or "*") for port in items(document, "ports")]
    return _shortened(ports) or _UNSET


def _endpoints_cell(document: Mapping[str, Any], _: float) -> object:
    addresses = [
        str(address)
        for endpoint in items(document, "endpoints")
        for address in items(endpoint, "addresses")
    ]
    return _shortened(addresses) or _UNSET


ENDPOINT_SLICE: Kind[EndpointSlice] = Kind(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    singular="endpointslice",
    builtin=True,
    durable=False,
    has_status=False,
    model=EndpointSlice,
    columns=(
        Column("AddressType", "string", text("addressType")),
        Column("Ports", "string", _ports_cell),
        Column("Endpoints", "string", _endpoints_cell),
    ),
    default=default_endpoint_slice,
    validate=validate_endpoint_slice,
)
