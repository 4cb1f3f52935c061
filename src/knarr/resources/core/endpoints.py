"""Endpoints (``v1``)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1123_label_problems
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import NONE, get, items
from knarr.resources.core.addresses import address_errors, port_errors, protocol_errors
from knarr.resources.core.references import ObjectReference
from knarr.resources.fielderrors import invalid, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

_SHOWN = 3


class EndpointAddress(Struct, frozen=True, kw_only=True):
    """One address behind a Service and the Pod that has it."""

    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Struct, frozen=True, kw_only=True):
    """A port that every address of a subset listens on."""

    name: str = ""
    port: int = 0
    protocol: str = ""
    app_protocol: str | None = None


class EndpointSubset(Struct, frozen=True, kw_only=True):
    """Addresses that have the same ports; each address with each port is an endpoint."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Resource, frozen=True, kw_only=True):
    """The addresses behind the Service of the same name."""

    subsets: tuple[EndpointSubset, ...] = ()


def default_endpoints(endpoints: Endpoints, _: Admission) -> Endpoints:
    """TCP."""
    subsets = tuple(
        replace(
            subset,
            ports=tuple(replace(port, protocol=port.protocol or "TCP") for port in subset.ports),
        )
        for subset in endpoints.subsets
    )
    return replace(endpoints, subsets=subsets)


def _address_errors(address: EndpointAddress) -> list[FieldError]:
    errors = address_errors("ip", address.ip)
    if address.hostname:
        problems = dns1123_label_problems(address.hostname)
        errors += [invalid("hostname", address.hostname, text) for text in problems]
    return errors


def _port_errors(port: EndpointPort, *, single: bool) -> list[FieldError]:
    errors = []
    if not port.name:
        errors += [] if single else [required("name")]
    else:
        problems = dns1123_label_problems(port.name)
        errors += [invalid("name", port.name, text) for text in problems]
    return [*errors, *port_errors("port", port.port), *protocol_errors("protocol", port.protocol)]


def _subset_errors(subset: EndpointSubset) -> list[FieldError]:
    errors: list[FieldError] = []
    if not subset.addresses and not subset.not_ready_addresses:
        errors.append(required("", "must specify `addresses` or `notReadyAddresses`"))
    for index, address in enumerate(subset.addresses):
        errors += at(f"addresses[{index}]", _address_errors(address))
    for index, address in enumerate(subset.not_ready_addresses):
        errors += at(f"notReadyAddresses[{index}]", _address_errors(address))
    for index, port in enumerate(subset.ports):
        errors += at(f"ports[{index}]", _port_errors(port, single=len(subset.ports) == 1))
    return errors


def validate_endpoints(endpoints: Endpoints, _: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules."""
    errors = metadata_errors(endpoints.metadata)
    for index, subset in enumerate(endpoints.subsets):
        errors += at(f"subsets[{index}]", _subset_errors(subset))
    return tuple(errors)


def _endpoints_cell(document: Mapping[str, Any], _: float) -> object:
    found = []
    for subset in items(document, "subsets"):
        addresses = [str(get(item, "ip") or "") for item in items(subset, "addresses")]
        ports = [get(port, "port") for port in items(subset, "ports")]
        found += [f"{ip}:{port}" for port in ports for ip in addresses] if ports else addresses
    shown = ",".join(found[:_SHOWN]) or NONE
    return f"{shown} + {len(found) - _SHOWN} more..." if len(found) > _SHOWN else shown


ENDPOINTS: Kind[Endpoints] = Kind(
    group="",
    version="v1",
    kind="Endpoints",
    plural="endpoints",
    singular="endpoints",
    short_names=("ep",),
    builtin=True,
    durable=False,
    has_status=False,
    model=Endpoints,
    columns=(Column("Endpoints", "string", _endpoints_cell),),
    default=default_endpoints,
    validate=validate_endpoints,
)
