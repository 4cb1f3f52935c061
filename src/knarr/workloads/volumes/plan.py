"""Decides which volume a claim gets; pure (semantics of Kubernetes ``pkg/controller/volume``)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from knarr.resources.core.persistentvolume import PersistentVolume, PersistentVolumeSpec
from knarr.resources.core.persistentvolumeclaim import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    storage_request,
)
from knarr.resources.core.pod import Pod
from knarr.resources.core.references_validation import compile_selector
from knarr.resources.core.storage_values import (
    BIND_COMPLETED_ANNOTATION,
    FILESYSTEM,
    STORAGE,
)
from knarr.resources.core.volume import Quantity
from knarr.resources.quantity import parse_quantity
from knarr.resources.storage.storageclass import ON_FIRST_USE, StorageClass

Step = Literal["bound", "bind", "provision", "wait", "lost"]
EventType = Literal["Normal", "Warning"]
NO_PROVISIONER = "kubernetes.io/no-provisioner"
_LOST = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
_MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"
_NO_CLASS = "no persistent volumes available for this claim and no storage class is set"
_FIRST_USE = "waiting for first consumer to be created before binding"


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """What to do for a claim.

    Attributes:
        step: ``bound``: nothing but the status; ``bind``: to ``volume``; ``provision``: wait for the
            provisioner of its class; ``wait``: for a volume, a class or a Pod; ``lost``: its volume is gone.
        volume: that the claim is or is to be bound to.
        reason, message: an Event about it; empty for none.
    """

    step: Step
    volume: PersistentVolume | None = None
    reason: str = ""
    message: str = ""
    type: EventType = "Normal"


def claims_of(pod: Pod) -> frozenset[str]:
    """The names of the claims that a Pod mounts."""
    return frozenset(
        volume.persistent_volume_claim.claim_name
        for volume in (pod.spec.volumes if pod.spec else ())
        if volume.persistent_volume_claim is not None
    )


def amount(quantity: Quantity | None) -> int:
    """Bytes; 0 for what is no quantity."""
    try:
        return parse_quantity(quantity or "0").whole
    except ValueError:
        return 0


def capacity_of(volume: PersistentVolume) -> Quantity:
    """The nominal size."""
    return ((volume.spec.capacity if volume.spec else None) or {}).get(STORAGE, "0")


def is_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether a volume is kept for this very claim."""
    reference = volume.spec.claim_ref if volume.spec else None
    return (
        reference is not None
        and (reference.namespace, reference.name) == claim.key
        and reference.uid in ("", claim.metadata.uid)
    )


def fits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether a volume is what a claim asks for; whose it is does not matter here."""
    spec = claim.spec or PersistentVolumeClaimSpec()
    offered = volume.spec or PersistentVolumeSpec()
    if volume.deleting or (offered.volume_mode or FILESYSTEM) != (spec.volume_mode or FILESYSTEM):
        return False
    if not set(spec.access_modes) <= set(offered.access_modes):
        return False
    return amount(capacity_of(volume)) >= amount(storage_request(spec))


def _matches(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    spec = claim.spec or PersistentVolumeClaimSpec()
    offered = volume.spec or PersistentVolumeSpec()
    if offered.storage_class_name != (spec.storage_class_name or ""):
        return False
    if spec.selector is not None and not compile_selector(spec.selector).matches(
        volume.metadata.labels or {}
    ):
        return False
    return fits(volume, claim)


def best_volume(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]
) -> PersistentVolume | None:
    """The volume that is kept for the claim, or the smallest free one that fits."""
    free = []
    for volume in volumes:
        if is_for(volume, claim) and not volume.deleting:
            return volume
        unclaimed = volume.spec is not None and volume.spec.claim_ref is None
        if unclaimed and _matches(volume, claim):
            free.append(volume)
    return min(free, key=lambda each: (amount(capacity_of(each)), each.metadata.name), default=None)


def plan_claim(
    claim: PersistentVolumeClaim,
    volumes: Iterable[PersistentVolume],
    storage_class: StorageClass | None,
    *,
    used: bool,
) -> ClaimPlan:
    """One step towards a bound claim.

    Args:
        claim: not being deleted.
        volumes: all there are.
        storage_class: the one that the claim names, when it exists.
        used: whether a Pod mounts the claim.
    """
    spec = claim.spec or PersistentVolumeClaimSpec()
    if spec.volume_name:
        return _plan_named(claim, spec.volume_name, volumes)
    late = storage_class is not None and storage_class.volume_binding_mode == ON_FIRST_USE
    if late and not used:
        return ClaimPlan("wait", None, "WaitForFirstConsumer", _FIRST_USE)
    found = best_volume(claim, volumes)
    return _plan_unmatched(spec, storage_class) if found is None else ClaimPlan("bind", found)


def _plan_unmatched(
    spec: PersistentVolumeClaimSpec, storage_class: StorageClass | None
) -> ClaimPlan:
    """No volume that exists fits."""
    if not spec.storage_class_name:
        return ClaimPlan("wait", None, "FailedBinding", _NO_CLASS)
    if storage_class is None:
        text = f'storageclass.storage.k8s.io "{spec.storage_class_name}" not found'
        return ClaimPlan("wait", None, "ProvisioningFailed", text, "Warning")
    if storage_class.provisioner == NO_PROVISIONER:
        return ClaimPlan("wait", None, "FailedBinding", "no persistent volumes available")
    text = (
        "Waiting for a volume to be created either by the external provisioner "
        f"'{storage_class.provisioner}' or manually by the system administrator. If volume creation is "
        "delayed, please verify that the provisioner is running and correctly registered."
    )
    return ClaimPlan("provision", None, "ExternalProvisioning", text)


def _plan_named(
    claim: PersistentVolumeClaim, name: str, volumes: Iterable[PersistentVolume]
) -> ClaimPlan:
    volume = next((each for each in volumes if each.metadata.name == name), None)
    completed = bool(claim.metadata.annotation(BIND_COMPLETED_ANNOTATION))
    reference = volume.spec.claim_ref if volume is not None and volume.spec else None
    if volume is None:
        problem = ("FailedBinding", f'volume "{name}" not found')
    elif reference is not None and not is_for(volume, claim):
        problem = ("FailedBinding", f'volume "{name}" already bound to a different claim.')
    elif completed and reference is not None and reference.uid == claim.metadata.uid:
        return ClaimPlan("bound", volume)
    elif fits(volume, claim):
        return ClaimPlan("bind", volume)
    else:
        text = "requested size, mode or access mode differs"
        problem = ("VolumeMismatch", f'Cannot bind to requested volume "{name}": {text}')
    if completed and volume is None:
        return ClaimPlan("lost", None, "ClaimLost", _LOST, "Warning")
    if completed and problem[0] == "FailedBinding":
        return ClaimPlan("lost", None, "ClaimMisbound", _MISBOUND, "Warning")
    return ClaimPlan("wait", None, *problem, "Warning")


VolumePhase = Literal["Available", "Bound", "Released"]


def phase_of_volume(
    volume: PersistentVolume, claim: PersistentVolumeClaim | None
) -> VolumePhase | None:
    """What a volume is, given the claim that it names (None when there is none of that name).

    None while the binding is under way.
    """
    reference = volume.spec.claim_ref if volume.spec else None
    if reference is None or not reference.uid:
        return "Available"
    if claim is None or claim.metadata.uid != reference.uid:
        return "Released"
    named = claim.spec.volume_name if claim.spec else ""
    if not named:
        return None
    return "Bound" if named == volume.metadata.name else "Released"
