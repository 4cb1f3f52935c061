"""The template of a Revision (``serving.knative.dev/v1``): Kubernetes' PodSpec plus Knative's fields.

The subclasses here add fields that Knative knows and Knarr does not honour, as undecoded documents, so that
validation can refuse them with Knative's texts instead of dropping them.
"""

from typing import Any

import msgspec

from knarr.meta.objects import ObjectMeta, Struct
from knarr.resources.core import container as core
from knarr.resources.core import podspec as core_podspec
from knarr.resources.core import volume as core_volume


class VolumeMount(core.VolumeMount, frozen=True, kw_only=True):
    """Where a volume appears in a container."""

    mount_propagation: Any = None
    sub_path_expr: Any = None


class Container(core.Container, frozen=True, kw_only=True):
    """A container of a Revision."""

    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: Any = None


class VolumeProjection(core_volume.VolumeProjection, frozen=True, kw_only=True):
    """One source of a projected volume."""


class ProjectedVolumeSource(core_volume.ProjectedVolumeSource, frozen=True, kw_only=True):
    """Several sources in one directory."""

    sources: tuple[VolumeProjection, ...] = ()


class Volume(core_volume.Volume, frozen=True, kw_only=True):
    """A volume of a Revision."""

    projected: ProjectedVolumeSource | None = None
    host_path: Any = None
    csi: Any = None
    ephemeral: Any = None
    image: Any = None


class RevisionSpec(core_podspec.PodSpec, frozen=True, kw_only=True):
    """What a Revision runs and how requests reach it. Times are seconds, 0 of concurrency is unlimited."""

    volumes: tuple[Volume, ...] = ()
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    container_concurrency: int | None = None
    timeout_seconds: int | None = None
    response_start_timeout_seconds: int | None = None
    idle_timeout_seconds: int | None = None
    affinity: Any = None
    topology_spread_constraints: Any = None
    host_aliases: Any = None
    runtime_class_name: Any = None
    share_process_namespace: Any = None
    dns_config: Any = None
    host_network: Any = None
    host_ipc: Any = msgspec.field(default=None, name="hostIPC")
    host_pid: Any = msgspec.field(default=None, name="hostPID")


class RevisionTemplate(Struct, frozen=True, kw_only=True):
    """The Revisions that a Configuration makes."""

    metadata: ObjectMeta | None = None
    spec: RevisionSpec | None = None


_POD_SPEC_FIELDS = tuple(field.name for field in msgspec.structs.fields(core_podspec.PodSpec))


def pod_spec_of(spec: RevisionSpec) -> core_podspec.PodSpec:
    """The part of a Revision's spec that goes into its Pods."""
    return core_podspec.PodSpec(**{name: getattr(spec, name) for name in _POD_SPEC_FIELDS})
