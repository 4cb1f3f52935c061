"""Decides what the garbage collector does with one object; pure.

Semantics: Kubernetes ``pkg/controller/garbagecollector``. An owner is identified by uid. A reference whose
kind nobody here knows, or whose owner lives in another namespace, neither keeps nor dooms its object.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from knarr.meta.objects import OwnerReference, Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
Propagation = Literal["Background", "Foreground", "Orphan"]


class Owner(Enum):
    """What became of an owner."""

    SOLID = "there"
    WAITING = "there, being deleted in the foreground"
    ABSENT = "gone"
    FOREIGN = "of an unknown kind or in another namespace"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a dependent.

    Attributes:
        delete: how to delete it; None keeps it.
        drop: uids of owner references that lead nowhere any more, to be removed while it lives.
    """

    delete: Propagation | None = None
    drop: frozenset[str] = frozenset()


def plan_dependent(subject: Resource, owners: dict[str, Owner], *, has_dependents: bool) -> Verdict:
    """Whether an object outlives its owners.

    Args:
        subject: not being deleted.
        owners: what became of each owner, by uid.
        has_dependents: whether the object is itself an owner.
    """
    states = set(owners.values())
    gone = {uid for uid, state in owners.items() if state is Owner.ABSENT}
    blocking = {
        reference.uid
        for reference in subject.metadata.owner_references or ()
        if reference.block_owner_deletion and owners.get(reference.uid) is Owner.WAITING
    }
    if Owner.SOLID in states:
        return Verdict(drop=frozenset(gone | blocking))
    if not gone and Owner.WAITING not in states:
        return Verdict()
    if Owner.FOREIGN in states and Owner.WAITING not in states:
        return Verdict()
    finalizers = subject.metadata.finalizers or ()
    if ORPHAN in finalizers:
        return Verdict(delete="Orphan")
    if FOREGROUND in finalizers or (Owner.WAITING in states and has_dependents):
        return Verdict(delete="Foreground")
    return Verdict(delete="Background")


def waits_for_collector(subject: Resource) -> str:
    """The finalizer with which a deleted object waits for the garbage collector, or nothing."""
    finalizers = subject.metadata.finalizers or ()
    if not subject.deleting:
        return ""
    return next((name for name in (ORPHAN, FOREGROUND) if name in finalizers), "")


def blocks(dependent: Resource, owner_uid: str) -> bool:
    """Whether a dependent holds its owner's foreground deletion."""
    return any(
        reference.uid == owner_uid and bool(reference.block_owner_deletion)
        for reference in dependent.metadata.owner_references or ()
    )


def references_without(subject: Resource, uids: frozenset[str]) -> tuple[OwnerReference, ...]:
    """The owner references that stay."""
    return tuple(
        reference
        for reference in subject.metadata.owner_references or ()
        if reference.uid not in uids
    )
