"""Lease (``coordination.k8s.io/v1``)."""

from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Kind


class LeaseSpec(Struct, frozen=True, kw_only=True):
    """Who leads, since when and for how long. Times are micro timestamps."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None
    strategy: str | None = None
    preferred_holder: str | None = None


class Lease(Resource, frozen=True, kw_only=True):
    """A claim that expires unless it is renewed: leader election of controllers."""

    spec: LeaseSpec | None = None


LEASE: Kind[Lease] = Kind(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    singular="lease",
    builtin=True,
    durable=False,
    has_status=False,
    model=Lease,
)
