"""The Endpoints object of a Service; pure (Kubernetes ``pkg/controller/endpoint``)."""

from collections.abc import Sequence

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.core.endpoints import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
)
from knarr.resources.core.service import Service
from knarr.workloads.endpoints.candidates import HEADLESS_LABEL, Candidate, Port, is_headless

MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY_ANNOTATION = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000
"""Addresses of one object; beyond it ready ones stay, and an annotation says that some are missing."""


def plan_endpoints(
    service: Service, candidates: Sequence[Candidate], current: Endpoints | None
) -> Endpoints | None:
    """The object to write, or None when the present one is right.

    Args:
        service: with a selector.
        candidates: the Pods behind it.
        current: the object of the Service's name, whoever made it.
    """
    unready_too = service.spec is not None and service.spec.publish_not_ready_addresses
    shown = [item for item in candidates if unready_too or not item.terminating]
    shown.sort(key=lambda item: not item.ready)
    kept = shown[:MAX_ADDRESSES]
    metadata = current.metadata if current is not None else ObjectMeta()
    desired = replace(
        current or Endpoints(),
        metadata=replace(
            metadata,
            name=service.metadata.name,
            namespace=service.metadata.namespace,
            labels=_labels(service),
            annotations=_annotations(metadata, over=len(shown) > len(kept)),
            owner_references=(owner_reference(service),),
        ),
        subsets=_subsets(kept),
    )
    return None if desired == current else desired


def _labels(service: Service) -> dict[str, str]:
    labels = {
        name: value
        for name, value in (service.metadata.labels or {}).items()
        if name != HEADLESS_LABEL
    }
    headless = {HEADLESS_LABEL: ""} if is_headless(service) else {}
    return labels | headless | {MANAGED_BY_LABEL: MANAGER}


def _annotations(metadata: ObjectMeta, *, over: bool) -> dict[str, str] | None:
    others = {
        name: value
        for name, value in (metadata.annotations or {}).items()
        if name != OVER_CAPACITY_ANNOTATION
    }
    return others | ({OVER_CAPACITY_ANNOTATION: "truncated"} if over else {}) or None


def _subsets(candidates: Sequence[Candidate]) -> tuple[EndpointSubset, ...]:
    """Addresses with the same ports stand together."""
    groups: dict[tuple[Port, ...], list[Candidate]] = {}
    for item in candidates:
        groups.setdefault(item.ports, []).append(item)
    return tuple(
        EndpointSubset(
            addresses=_addresses([item for item in group if item.ready]),
            not_ready_addresses=_addresses([item for item in group if not item.ready]),
            ports=tuple(
                EndpointPort(
                    name=port.name,
                    port=port.number,
                    protocol=port.protocol,
                    app_protocol=port.app_protocol,
                )
                for port in ports
            ),
        )
        for ports, group in sorted(groups.items(), key=lambda item: _order(item[0]))
    )


def _order(ports: tuple[Port, ...]) -> list[tuple[str, str, int]]:
    return [(port.name, port.protocol, port.number) for port in ports]


def _addresses(candidates: list[Candidate]) -> tuple[EndpointAddress, ...]:
    return tuple(
        EndpointAddress(ip=item.address, node_name=item.node or None, target_ref=item.reference)
        for item in candidates
    )
