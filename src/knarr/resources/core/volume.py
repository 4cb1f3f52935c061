"""Volumes of a Pod: the sources that Knarr can mount (Kubernetes ``core/v1.Volume``)."""

import msgspec

from knarr.meta.objects import Struct

Quantity = str | int | float
"""A quantity as clients send it; defaulting rewrites it to its canonical text."""


class KeyToPath(Struct, frozen=True, kw_only=True):
    """One key of a ConfigMap or Secret, and the file it becomes."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class SecretVolumeSource(Struct, frozen=True, kw_only=True):
    """A Secret's keys as files; ``defaultMode`` is decimal, 420 is 0644."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class ConfigMapVolumeSource(Struct, frozen=True, kw_only=True):
    """A ConfigMap's keys as files; ``defaultMode`` is decimal, 420 is 0644."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class EmptyDirVolumeSource(Struct, frozen=True, kw_only=True):
    """A directory that lives as long as the Pod, on disk or (``medium: Memory``) in memory."""

    medium: str = ""
    size_limit: Quantity | None = None


class PersistentVolumeClaimVolumeSource(Struct, frozen=True, kw_only=True):
    """The storage that a claim of the same namespace is bound to."""

    claim_name: str = ""
    read_only: bool = False


class ObjectFieldSelector(Struct, frozen=True, kw_only=True):
    """A field of the Pod itself, e.g. ``metadata.name``."""

    api_version: str = ""
    field_path: str = ""


class ResourceFieldSelector(Struct, frozen=True, kw_only=True):
    """A resource of a container, e.g. ``limits.cpu``, divided by ``divisor``."""

    container_name: str = ""
    resource: str = ""
    divisor: Quantity | None = None


class DownwardApiFile(Struct, frozen=True, kw_only=True):
    """A file that holds a field of the Pod."""

    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class SecretProjection(Struct, frozen=True, kw_only=True):
    """A Secret as part of a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None


class ConfigMapProjection(Struct, frozen=True, kw_only=True):
    """A ConfigMap as part of a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None


class DownwardApiProjection(Struct, frozen=True, kw_only=True):
    """Fields of the Pod as part of a projected volume."""

    items: tuple[DownwardApiFile, ...] = ()


class ServiceAccountTokenProjection(Struct, frozen=True, kw_only=True):
    """A token of the Pod's account as part of a projected volume; it is renewed before it expires.

    Attributes:
        audience: for whom it is; empty for the API server.
        expiration_seconds: for how long it is good, 600 at least.
    """

    audience: str = ""
    expiration_seconds: int | None = None
    path: str = ""


class VolumeProjection(Struct, frozen=True, kw_only=True):
    """One source of a projected volume; exactly one field is set."""

    secret: SecretProjection | None = None
    config_map: ConfigMapProjection | None = None
    downward_api: DownwardApiProjection | None = msgspec.field(default=None, name="downwardAPI")
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Struct, frozen=True, kw_only=True):
    """Several sources in one directory."""

    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int | None = None


class DownwardApiVolumeSource(Struct, frozen=True, kw_only=True):
    """Fields of the Pod as files."""

    items: tuple[DownwardApiFile, ...] = ()
    default_mode: int | None = None


class Volume(Struct, frozen=True, kw_only=True):
    """A named volume; exactly one source is set."""

    name: str = ""
    secret: SecretVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    downward_api: DownwardApiVolumeSource | None = msgspec.field(default=None, name="downwardAPI")
    empty_dir: EmptyDirVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
