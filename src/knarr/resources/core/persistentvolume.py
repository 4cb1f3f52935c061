"""PersistentVolume (``v1``)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import AGE, get, text
from knarr.resources.core.pod_defaults import canonical_quantities
from knarr.resources.core.references import ObjectReference
from knarr.resources.core.storage_values import (
    FILESYSTEM,
    STORAGE,
    VOLUME_FINALIZER,
    access_mode_errors,
    attributes_class_cell,
    modes_cell,
    phase_cell,
    positive_quantity_errors,
    volume_mode_cell,
    volume_mode_errors,
)
from knarr.resources.core.volume import Quantity
from knarr.resources.fielderrors import forbidden, invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

_POLICIES = ("Delete", "Retain")


class LocalVolumeSource(Struct, frozen=True, kw_only=True):
    """A directory of the node; it lies in the node agent's own directory for volumes."""

    path: str = ""


class NodeSelectorRequirement(Struct, frozen=True, kw_only=True):
    """One expression about a node's labels; ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Struct, frozen=True, kw_only=True):
    """Expressions that must all hold."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(Struct, frozen=True, kw_only=True):
    """Terms of which one must hold."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class VolumeNodeAffinity(Struct, frozen=True, kw_only=True):
    """From which nodes the volume can be reached."""

    required: NodeSelector | None = None


class PersistentVolumeSpec(Struct, frozen=True, kw_only=True):
    """A directory, its nominal capacity and what happens to it after its claim."""

    capacity: Mapping[str, Quantity] | None = None
    local: LocalVolumeSource | None = None
    access_modes: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str | None = None
    node_affinity: VolumeNodeAffinity | None = None


class PersistentVolumeStatus(Struct, frozen=True, kw_only=True):
    """``phase`` is Pending, Available, Bound, Released or Failed."""

    phase: str = ""
    message: str = ""
    reason: str = ""
    last_phase_transition_time: str | None = None


class PersistentVolume(Resource, frozen=True, kw_only=True):
    """Storage that outlives Pods."""

    spec: PersistentVolumeSpec | None = None
    status: PersistentVolumeStatus | None = None


def default_persistent_volume(subject: PersistentVolume, admission: Admission) -> PersistentVolume:
    """Retain, a file system, the protecting finalizer; a new one is Pending."""
    if admission.subresource:
        return subject
    spec = subject.spec or PersistentVolumeSpec()
    spec = replace(
        spec,
        capacity=canonical_quantities(spec.capacity),
        persistent_volume_reclaim_policy=spec.persistent_volume_reclaim_policy or "Retain",
        volume_mode=spec.volume_mode or FILESYSTEM,
    )
    metadata, status = subject.metadata, subject.status
    if admission.operation == "CREATE":
        status = status or PersistentVolumeStatus(phase="Pending")
        finalizers = metadata.finalizers or ()
        if VOLUME_FINALIZER not in finalizers:
            metadata = replace(metadata, finalizers=(*finalizers, VOLUME_FINALIZER))
    return replace(subject, metadata=metadata, spec=spec, status=status)


def _capacity_errors(capacity: Mapping[str, Quantity] | None) -> list[FieldError]:
    if not capacity:
        return [required("capacity")]
    if set(capacity) != {STORAGE}:
        return [not_supported("capacity", dict(capacity), (STORAGE,))]
    return positive_quantity_errors(f"capacity.{STORAGE}", capacity[STORAGE])


def _source_errors(spec: PersistentVolumeSpec) -> list[FieldError]:
    if spec.local is None:
        return [required("", "must specify a volume type")]
    errors = []
    if not spec.local.path:
        errors.append(required("local.path"))
    elif ".." in spec.local.path.split("/"):
        errors.append(invalid("local.path", spec.local.path, "must not contain '..'"))
    elif not spec.local.path.startswith("/"):
        errors.append(invalid("local.path", spec.local.path, "must be an absolute path"))
    if spec.node_affinity is None:
        errors.append(required("nodeAffinity", "Local volume requires node affinity"))
    elif spec.node_affinity.required is None:
        errors.append(required("nodeAffinity.required", "must specify required node constraints"))
    elif not spec.node_affinity.required.node_selector_terms:
        path = "nodeAffinity.required.nodeSelectorTerms"
        errors.append(required(path, "must have at least one node selector term"))
    return errors


def _update_errors(old: PersistentVolumeSpec, new: PersistentVolumeSpec) -> list[FieldError]:
    errors = []
    if old.local != new.local:
        text_ = "spec.persistentvolumesource is immutable after creation"
        errors.append(forbidden("persistentvolumesource", text_))
    if old.volume_mode != new.volume_mode:
        errors.append(invalid("volumeMode", new.volume_mode, "field is immutable"))
    if old.node_affinity is not None and old.node_affinity != new.node_affinity:
        errors.append(invalid("nodeAffinity", new.node_affinity, "field is immutable"))
    return errors


def validate_persistent_volume(
    subject: PersistentVolume, admission: Admission
) -> tuple[FieldError, ...]:
    """Kubernetes' rules; a volume's source never changes."""
    if admission.subresource:
        return ()
    spec = subject.spec or PersistentVolumeSpec()
    errors = access_mode_errors("accessModes", spec.access_modes)
    errors += _capacity_errors(spec.capacity)
    errors += _source_errors(spec)
    policy = spec.persistent_volume_reclaim_policy
    if policy not in _POLICIES:
        errors.append(not_supported("persistentVolumeReclaimPolicy", policy, _POLICIES))
    errors += volume_mode_errors("volumeMode", spec.volume_mode)
    claim = spec.claim_ref
    if claim is not None and not (claim.name and claim.namespace):
        errors.append(required("claimRef", "a claim is named by namespace and name"))
    if isinstance(admission.old, PersistentVolume) and admission.old.spec is not None:
        errors += _update_errors(admission.old.spec, spec)
    return (*metadata_errors(subject.metadata), *at("spec", errors))


def _claim_cell(document: Mapping[str, Any], _: float) -> object:
    claim = get(document, "spec", "claimRef")
    return f"{get(claim, 'namespace') or ''}/{get(claim, 'name')}" if claim else ""


PERSISTENT_VOLUME: Kind[PersistentVolume] = Kind(
    group="",
    version="v1",
    kind="PersistentVolume",
    plural="persistentvolumes",
    singular="persistentvolume",
    short_names=("pv",),
    namespaced=False,
    builtin=True,
    model=PersistentVolume,
    age=False,
    columns=(
        Column("Capacity", "string", text("spec", "capacity", STORAGE)),
        Column("Access Modes", "string", modes_cell("spec", "accessModes")),
        Column("Reclaim Policy", "string", text("spec", "persistentVolumeReclaimPolicy")),
        Column("Status", "string", phase_cell),
        Column("Claim", "string", _claim_cell),
        Column("StorageClass", "string", text("spec", "storageClassName")),
        Column("VolumeAttributesClass", "string", attributes_class_cell),
        Column("Reason", "string", text("status", "reason")),
        AGE,
        Column("VolumeMode", "string", volume_mode_cell, priority=1),
    ),
    default=default_persistent_volume,
    validate=validate_persistent_volume,
)
