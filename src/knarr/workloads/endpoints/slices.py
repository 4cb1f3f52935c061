"""The EndpointSlices of a Service: which to write and which to delete; pure.

As in Kubernetes (``staging/src/k8s.io/endpointslice/reconciler.go``): at most 100 endpoints in each, the
same ports in all of one slice, and as few slices as possible change. An endpoint stays in its slice; a new
one goes into a slice that changes anyway, then into the fullest that has room, then into one that would
be deleted, then into a new one. A Service without endpoints has one empty slice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.core.service import Service
from knarr.resources.discovery.endpointslice import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    SlicePort,
)
from knarr.workloads.endpoints.candidates import HEADLESS_LABEL, Candidate, Port, is_headless

MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS = 100

_Ports = tuple[SlicePort, ...]


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """What to do; a second plan after it is empty."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()


@dataclass(slots=True)
class _Filling:
    """A slice while it is being filled; ``source`` None is a new one."""

    source: EndpointSlice | None
    ports: _Ports
    endpoints: list[Endpoint] = field(default_factory=list)

    @property
    def room(self) -> int:
        return max(0, MAX_ENDPOINTS - len(self.endpoints))

    @property
    def changed(self) -> bool:
        return self.source is None or (
            tuple(self.endpoints) != self.source.endpoints or self.ports != self.source.ports
        )

    def take(self, fresh: list[Endpoint]) -> None:
        room = self.room
        self.endpoints += fresh[:room]
        del fresh[:room]


def plan_slices(
    service: Service, candidates: Sequence[Candidate], current: Sequence[EndpointSlice]
) -> SlicePlan:
    """One step, after which the slices are right.

    Args:
        service: with a selector.
        candidates: the Pods behind it.
        current: the slices that were made for this Service here.
    """
    wanted: dict[_Ports, dict[str, Endpoint]] = {}
    for item in candidates:
        wanted.setdefault(_ports(item.ports), {})[item.reference.uid] = _endpoint(item)
    if not wanted:
        wanted = {(): {}}
    spare = sorted(
        (item for item in current if (item.ports or ()) not in wanted),
        key=lambda item: item.metadata.name,
    )
    filled: list[_Filling] = []
    homeless: list[_Filling] = []
    for ports, endpoints in wanted.items():
        own = sorted(
            (item for item in current if (item.ports or ()) == ports),
            key=lambda item: item.metadata.name,
        )
        kept, new, empty = _fill(ports, endpoints, own)
        filled += kept
        homeless += new
        spare += empty
    for filling in homeless:
        filling.source = spare.pop(0) if spare else None
    return _plan(service, [*filled, *homeless], spare)


def _fill(
    ports: _Ports, wanted: dict[str, Endpoint], own: list[EndpointSlice]
) -> tuple[list[_Filling], list[_Filling], list[EndpointSlice]]:
    """The slices of one set of ports: those that stay, those that are missing, those left empty."""
    left = dict(wanted)
    present = []
    for item in own:
        filling = _Filling(item, ports)
        for endpoint in item.endpoints or ():
            uid = endpoint.target_ref.uid if endpoint.target_ref else ""
            if uid in left and filling.room:
                filling.endpoints.append(left.pop(uid))
        present.append(filling)
    fresh = list(left.values())
    for filling in _by_preference(present):
        filling.take(fresh)
    new = []
    while fresh:
        filling = _Filling(None, ports)
        filling.take(fresh)
        new.append(filling)
    stay = [filling for filling in present if filling.endpoints]
    if not stay and not new:
        stay = present[:1]
        new = [] if stay else [_Filling(None, ports)]
    empty = [
        filling.source for filling in present if filling not in stay and filling.source is not None
    ]
    return stay, new, empty


def _by_preference(fillings: list[_Filling]) -> Iterator[_Filling]:
    """Those that change anyway first, then the fullest; empty ones last: they can go."""
    yield from sorted(
        fillings,
        key=lambda item: (not item.endpoints, not item.changed, -len(item.endpoints)),
    )


def _plan(
    service: Service, fillings: Sequence[_Filling], surplus: Sequence[EndpointSlice]
) -> SlicePlan:
    create, update = [], []
    for filling in fillings:
        desired = _slice(service, filling)
        if filling.source is None:
            create.append(desired)
        elif desired != filling.source:
            update.append(desired)
    return SlicePlan(tuple(create), tuple(update), tuple(surplus))


def _slice(service: Service, filling: _Filling) -> EndpointSlice:
    source = filling.source or EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{service.metadata.name}-", namespace=service.metadata.namespace
        )
    )
    headless = {HEADLESS_LABEL: ""} if is_headless(service) else {}
    labels = {
        **{
            name: value
            for name, value in (service.metadata.labels or {}).items()
            if name != HEADLESS_LABEL
        },
        **headless,
        SERVICE_NAME_LABEL: service.metadata.name,
        MANAGED_BY_LABEL: MANAGER,
    }
    return replace(
        source,
        metadata=replace(
            source.metadata, labels=labels, owner_references=(owner_reference(service),)
        ),
        address_type="IPv4",
        endpoints=tuple(filling.endpoints),
        ports=filling.ports,
    )


def _ports(ports: tuple[Port, ...]) -> _Ports:
    return tuple(
        SlicePort(
            name=port.name,
            port=port.number,
            protocol=port.protocol,
            app_protocol=port.app_protocol,
        )
        for port in ports
    )


def _endpoint(candidate: Candidate) -> Endpoint:
    return Endpoint(
        addresses=(candidate.address,),
        conditions=EndpointConditions(
            ready=candidate.ready,
            serving=candidate.serving,
            terminating=candidate.terminating,
        ),
        target_ref=candidate.reference,
        node_name=candidate.node or None,
    )
