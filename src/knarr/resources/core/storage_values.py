"""What PersistentVolumes and their claims have in common (Kubernetes ``core/v1``)."""

from collections.abc import Mapping, Sequence
from typing import Any

from knarr.meta.fielderrors import FieldError
from knarr.resources.columns import Document, get, items
from knarr.resources.core.volume import Quantity
from knarr.resources.fielderrors import forbidden, invalid, not_supported, required
from knarr.resources.quantity import parse_quantity

STORAGE = "storage"
LOCAL_PROVISIONER = "knarr.dev/local"
"""Provisioner of the class ``knarr-local``: directories on this machine, made by the node agent."""
DEFAULT_CLASS_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
BETA_DEFAULT_CLASS_ANNOTATION = "storageclass.beta.kubernetes.io/is-default-class"
PROVISIONER_ANNOTATION = "volume.kubernetes.io/storage-provisioner"
PROVISIONED_BY_ANNOTATION = "pv.kubernetes.io/provisioned-by"
BIND_COMPLETED_ANNOTATION = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER_ANNOTATION = "pv.kubernetes.io/bound-by-controller"
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
FILESYSTEM = "Filesystem"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def access_mode_errors(path: str, modes: Sequence[str]) -> list[FieldError]:
    """At least one mode, all of them known; ReadWriteOncePod stands alone."""
    if not modes:
        return [required(path, "at least 1 access mode is required")]
    errors = [not_supported(path, mode, tuple(_MODES)) for mode in modes if mode not in _MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        errors.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def volume_mode_errors(path: str, mode: str | None) -> list[FieldError]:
    """Directories only: there are no block devices to give."""
    if mode in (None, "", FILESYSTEM):
        return []
    return [not_supported(path, mode, (FILESYSTEM,))]


def positive_quantity_errors(path: str, quantity: Quantity) -> list[FieldError]:
    """A quantity above zero."""
    try:
        value = parse_quantity(quantity).value
    except ValueError as error:
        return [invalid(path, quantity, str(error))]
    return [] if value > 0 else [invalid(path, str(quantity), "must be greater than zero")]


def access_modes_text(modes: Sequence[Any]) -> str:
    """``RWO,ROX`` in Kubernetes' order, each once."""
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


def phase_cell(document: Document, _: float) -> object:
    """The phase; ``Terminating`` once deletion was asked for."""
    if get(document, "metadata", "deletionTimestamp"):
        return "Terminating"
    return get(document, "status", "phase")


def modes_cell(*path: str) -> Any:
    """A cell with the access modes at a path."""
    return lambda document, _: access_modes_text(items(document, *path))


def volume_mode_cell(document: Document, _: float) -> object:
    """The volume mode, ``<unset>`` without one."""
    return get(document, "spec", "volumeMode") or "<unset>"


def attributes_class_cell(_document: Document, _: float) -> object:
    """VolumeAttributesClasses are not served."""
    return "<unset>"


def is_default_class(annotations: Mapping[str, str] | None) -> bool:
    """Whether a StorageClass is the one for claims that name none."""
    found = annotations or {}
    return "true" in (
        found.get(DEFAULT_CLASS_ANNOTATION),
        found.get(BETA_DEFAULT_CLASS_ANNOTATION),
    )
