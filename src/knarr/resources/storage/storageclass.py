"""StorageClass (``storage.k8s.io/v1``)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource
from knarr.meta.qualified import qualified_name_problems
from knarr.resources.columns import get, text
from knarr.resources.core.storage_values import is_default_class
from knarr.resources.fielderrors import IMMUTABLE, forbidden, invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

IMMEDIATE, ON_FIRST_USE = "Immediate", "WaitForFirstConsumer"
_POLICIES = ("Delete", "Retain")
_MODES = (IMMEDIATE, ON_FIRST_USE)


class StorageClass(Resource, frozen=True, kw_only=True):
    """How volumes for claims are made: by which provisioner, and when."""

    provisioner: str = ""
    parameters: Mapping[str, str] | None = None
    reclaim_policy: str | None = None
    allow_volume_expansion: bool | None = None
    volume_binding_mode: str | None = None


def default_storage_class(subject: StorageClass, _: Admission) -> StorageClass:
    """Delete, and at once."""
    return replace(
        subject,
        reclaim_policy=subject.reclaim_policy or "Delete",
        volume_binding_mode=subject.volume_binding_mode or IMMEDIATE,
    )


def _update_errors(old: StorageClass, new: StorageClass) -> list[FieldError]:
    errors = []
    if (old.parameters or {}) != (new.parameters or {}):
        errors.append(forbidden("parameters", "updates to parameters are forbidden."))
    if old.provisioner != new.provisioner:
        errors.append(forbidden("provisioner", "updates to provisioner are forbidden."))
    if old.reclaim_policy != new.reclaim_policy:
        errors.append(forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
    if old.volume_binding_mode != new.volume_binding_mode:
        errors.append(invalid("volumeBindingMode", new.volume_binding_mode, IMMUTABLE))
    return errors


def validate_storage_class(subject: StorageClass, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; what a class means never changes."""
    errors = metadata_errors(subject.metadata)
    if not subject.provisioner:
        errors.append(required("provisioner"))
    else:
        errors += [
            invalid("provisioner", subject.provisioner, problem)
            for problem in qualified_name_problems(subject.provisioner.lower())
        ]
    if subject.reclaim_policy not in _POLICIES:
        errors.append(not_supported("reclaimPolicy", subject.reclaim_policy, _POLICIES))
    if subject.volume_binding_mode not in _MODES:
        errors.append(not_supported("volumeBindingMode", subject.volume_binding_mode, _MODES))
    if isinstance(admission.old, StorageClass):
        errors += _update_errors(admission.old, subject)
    return tuple(errors)


def _name(document: Mapping[str, Any], _: float) -> object:
    name = get(document, "metadata", "name")
    default = is_default_class(get(document, "metadata", "annotations"))
    return f"{name} (default)" if default else name


STORAGE_CLASS: Kind[StorageClass] = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="StorageClass",
    plural="storageclasses",
    singular="storageclass",
    short_names=("sc",),
    namespaced=False,
    builtin=True,
    has_status=False,
    model=StorageClass,
    named=False,
    columns=(
        Column("Name", "string", _name, format="name"),
        Column("Provisioner", "string", text("provisioner")),
        Column("ReclaimPolicy", "string", text("reclaimPolicy")),
        Column("VolumeBindingMode", "string", text("volumeBindingMode")),
        Column(
            "AllowVolumeExpansion",
            "string",
            lambda doc, _: "true" if get(doc, "allowVolumeExpansion") else "false",
        ),
    ),
    default=default_storage_class,
    validate=validate_storage_class,
)
