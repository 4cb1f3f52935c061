"""PersistentVolumeClaim (``v1``)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1123_subdomain_problems
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import AGE, get, items, text
from knarr.resources.core.pod_defaults import canonical_quantities
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.core.references_validation import selector_errors
from knarr.resources.core.storage_values import (
    CLAIM_FINALIZER,
    FILESYSTEM,
    STORAGE,
    access_mode_errors,
    access_modes_text,
    attributes_class_cell,
    phase_cell,
    positive_quantity_errors,
    volume_mode_cell,
    volume_mode_errors,
)
from knarr.resources.core.volume import Quantity
from knarr.resources.fielderrors import forbidden, invalid, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors
from knarr.resources.quantity import parse_quantity

_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


class VolumeResourceRequirements(Struct, frozen=True, kw_only=True):
    """How much storage is asked for, and at most; nothing enforces it."""

    limits: Mapping[str, Quantity] | None = None
    requests: Mapping[str, Quantity] | None = None


class PersistentVolumeClaimSpec(Struct, frozen=True, kw_only=True):
    """What kind of storage, and of which class."""

    access_modes: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    resources: VolumeResourceRequirements | None = None
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None


class PersistentVolumeClaimStatus(Struct, frozen=True, kw_only=True):
    """``phase`` is Pending, Bound or Lost."""

    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, Quantity] | None = None
    conditions: tuple[Condition, ...] = ()


class PersistentVolumeClaim(Resource, frozen=True, kw_only=True):
    """A request for storage that outlives Pods."""

    spec: PersistentVolumeClaimSpec | None = None
    status: PersistentVolumeClaimStatus | None = None


def default_claim(subject: PersistentVolumeClaim, admission: Admission) -> PersistentVolumeClaim:
    """A file system, the protecting finalizer; a new one is Pending."""
    if admission.subresource:
        return subject
    metadata, status = subject.metadata, subject.status
    if admission.operation == "CREATE":
        status = status or PersistentVolumeClaimStatus(phase="Pending")
        finalizers = metadata.finalizers or ()
        if CLAIM_FINALIZER not in finalizers:
            metadata = replace(metadata, finalizers=(*finalizers, CLAIM_FINALIZER))
    return replace(subject, metadata=metadata, spec=default_claim_spec(subject.spec), status=status)


def default_claim_spec(spec: PersistentVolumeClaimSpec | None) -> PersistentVolumeClaimSpec:
    """What holds for claims and for templates of claims."""
    spec = spec or PersistentVolumeClaimSpec()
    resources = spec.resources or VolumeResourceRequirements()
    return replace(
        spec,
        volume_mode=spec.volume_mode or FILESYSTEM,
        resources=VolumeResourceRequirements(
            limits=canonical_quantities(resources.limits),
            requests=canonical_quantities(resources.requests),
        ),
    )


def claim_spec_errors(spec: PersistentVolumeClaimSpec) -> list[FieldError]:
    """Rules for claims and for templates of claims; paths are relative to the spec."""
    errors = access_mode_errors("accessModes", spec.access_modes)
    if spec.selector is not None and (
        spec.selector.match_labels or spec.selector.match_expressions
    ):
        errors += at("selector", selector_errors(spec.selector))
    requests = (spec.resources.requests if spec.resources else None) or {}
    if STORAGE not in requests:
        errors.append(required(f"resources[{STORAGE}]"))
    else:
        errors += positive_quantity_errors(f"resources[{STORAGE}]", requests[STORAGE])
    if spec.storage_class_name:
        errors += [
            invalid("storageClassName", spec.storage_class_name, text_)
            for text_ in dns1123_subdomain_problems(spec.storage_class_name)
        ]
    return errors + volume_mode_errors("volumeMode", spec.volume_mode)


def storage_request(spec: PersistentVolumeClaimSpec | None) -> Quantity:
    """How much is asked for; 0 when it does not say."""
    resources = spec.resources if spec else None
    return (resources.requests or {}).get(STORAGE, "0") if resources else "0"


def _update_errors(old: PersistentVolumeClaim, new: PersistentVolumeClaimSpec) -> list[FieldError]:
    before = old.spec or PersistentVolumeClaimSpec()
    bound = old.status is not None and old.status.phase == "Bound"
    same = replace(new, resources=before.resources) if bound else new
    if not before.volume_name:
        same = replace(same, volume_name=before.volume_name)
    if before.storage_class_name is None and not before.volume_name:
        same = replace(same, storage_class_name=before.storage_class_name)
    if same != before:
        return [forbidden("", _IMMUTABLE)]
    capacity = (old.status.capacity if old.status else None) or {}
    try:
        shrunk = parse_quantity(storage_request(new)).value < min(
            parse_quantity(capacity.get(STORAGE, "0")).value,
            parse_quantity(storage_request(before)).value,
        )
    except ValueError:
        return []  # validation says what a quantity looks like
    if shrunk:
        path = f"resources.requests.{STORAGE}"
        return [forbidden(path, "field can not be less than status.capacity")]
    return []


def validate_claim(subject: PersistentVolumeClaim, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; a claim's spec hardly changes."""
    if admission.subresource:
        return ()
    spec = subject.spec or PersistentVolumeClaimSpec()
    errors = claim_spec_errors(spec)
    if isinstance(admission.old, PersistentVolumeClaim) and not errors:
        errors = _update_errors(admission.old, spec)
    return (*metadata_errors(subject.metadata), *at("spec", errors))


def _when_bound(path: tuple[str, ...]) -> Any:
    def cell(document: Mapping[str, Any], _: float) -> object:
        return get(document, *path) or "" if get(document, "spec", "volumeName") else ""

    return cell


def _modes_cell(document: Mapping[str, Any], _: float) -> object:
    if not get(document, "spec", "volumeName"):
        return ""
    return access_modes_text(items(document, "status", "accessModes"))


PERSISTENT_VOLUME_CLAIM: Kind[PersistentVolumeClaim] = Kind(
    group="",
    version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    builtin=True,
    model=PersistentVolumeClaim,
    age=False,
    columns=(
        Column("Status", "string", phase_cell),
        Column("Volume", "string", text("spec", "volumeName")),
        Column("Capacity", "string", _when_bound(("status", "capacity", STORAGE))),
        Column("Access Modes", "string", _modes_cell),
        Column("StorageClass", "string", text("spec", "storageClassName")),
        Column("VolumeAttributesClass", "string", attributes_class_cell),
        AGE,
        Column("VolumeMode", "string", volume_mode_cell, priority=1),
    ),
    default=default_claim,
    validate=validate_claim,
)
