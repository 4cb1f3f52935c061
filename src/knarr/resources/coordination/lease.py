"""Lease (``coordination.k8s.io/v1``)."""

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import text
from knarr.resources.fielderrors import invalid
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors


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


def validate_lease(lease: Lease, _: Admission) -> tuple[FieldError, ...]:
    """A lease lasts some time."""
    errors = metadata_errors(lease.metadata)
    duration = lease.spec.lease_duration_seconds if lease.spec else None
    if duration is not None and duration <= 0:
        errors.append(invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    transitions = lease.spec.lease_transitions if lease.spec else None
    if transitions is not None and transitions < 0:
        detail = "must be greater than or equal to 0"
        errors.append(invalid("spec.leaseTransitions", transitions, detail))
    return tuple(errors)


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
    columns=(Column("Holder", "string", text("spec", "holderIdentity")),),
    validate=validate_lease,
)
