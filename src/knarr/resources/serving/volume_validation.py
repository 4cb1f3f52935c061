"""Rules for a Revision's volumes, in Knative's words (``pkg/apis/serving/k8s_validation.go``)."""

import posixpath
from collections.abc import Mapping, Sequence

from knarr.meta.fielderrors import (
    FieldError,
    at,
    disallowed,
    invalid_value,
    missing,
    missing_one_of,
    multiple_one_of,
)
from knarr.meta.names import dns1123_label_problems
from knarr.resources.config import features as flags
from knarr.resources.config.features import Features
from knarr.resources.core.volume import (
    DownwardApiFile,
    EmptyDirVolumeSource,
    KeyToPath,
    PersistentVolumeClaimVolumeSource,
)
from knarr.resources.quantity import parse_quantity
from knarr.resources.serving.podspec import Container, Volume, VolumeMount, VolumeProjection

UNSUPPORTED = "Knarr does not support this field yet; remove it"
_RESERVED_PATHS = frozenset({"/", "/dev", "/dev/log"})
_GATED_SOURCES = (
    ("image", "image", flags.IMAGE_VOLUME, "Image"),
    ("hostPath", "host_path", flags.HOST_PATH, "HostPath"),
    ("csi", "csi", flags.CSI, "CSI"),
    ("ephemeral", "ephemeral", flags.EPHEMERAL, "Ephemeral"),
)


def unsupported(path: str) -> FieldError:
    """A field that Knative would allow here and Knarr cannot honour."""
    return disallowed(path, details=UNSUPPORTED)


def volumes_errors(
    volumes: Sequence[Volume], containers: Sequence[Container], features: Features
) -> list[FieldError]:
    """All volumes; paths begin with ``volumes``."""
    mounted = {mount.name for item in containers for mount in item.volume_mounts}
    seen: set[str] = set()
    errors: list[FieldError] = []
    for index, volume in enumerate(volumes):
        found = []
        if volume.name in seen:
            text = f'duplicate volume name "{volume.name}"'
            found.append(FieldError(message=text, paths=("name",)))
        if volume.name not in mounted:
            text = f'volume with name "{volume.name}" not mounted'
            found.append(FieldError(message=text, paths=("name",)))
        found += _volume_errors(volume, features)
        seen.add(volume.name)
        errors += at(f"volumes[{index}]", found)
    return errors


def _volume_errors(volume: Volume, features: Features) -> list[FieldError]:
    errors = _gate_errors(volume, features)
    if not volume.name:
        # Knative forgets what it found before when the name is missing.
        errors = [missing("name")]
    elif dns1123_label_problems(volume.name):
        errors.append(invalid_value(volume.name, "name"))
    if volume.secret is not None:
        errors += _items_errors(volume.secret.items)
    if volume.config_map is not None:
        errors += _items_errors(volume.config_map.items)
    if volume.projected is not None:
        for index, source in enumerate(volume.projected.sources):
            errors += at(f"projected[{index}]", _projection_errors(source))
    if volume.empty_dir is not None:
        errors += at("emptyDir", _empty_dir_errors(volume.empty_dir))
    given = _given(volume)
    if not given:
        errors.append(missing_one_of(*_allowed_sources(features)))
    elif len(given) > 1:
        errors.append(multiple_one_of(*given))
    return errors


def _given(volume: Volume) -> list[str]:
    sources = {
        "secret": volume.secret,
        "configMap": volume.config_map,
        "projected": volume.projected,
        "emptyDir": volume.empty_dir,
        "persistentVolumeClaim": volume.persistent_volume_claim,
        "hostPath": volume.host_path,
        "csi": volume.csi,
        "ephemeral": volume.ephemeral,
        "image": volume.image,
    }
    return [name for name, source in sources.items() if source is not None]


def _allowed_sources(features: Features) -> list[str]:
    names = ["secret", "configMap", "projected"]
    if features.enabled(flags.EMPTY_DIR):
        names.append("emptyDir")
    if features.enabled(flags.PERSISTENT_VOLUME_CLAIM):
        names.append("persistentVolumeClaim")
    return names + [name for name, _, flag, _ in _GATED_SOURCES if features.enabled(flag)]


def _disabled(kind: str, name: str) -> FieldError:
    text = f"{kind} volume support is disabled, but found {kind} volume {name}"
    return FieldError(message=text, paths=())


def _gate_errors(volume: Volume, features: Features) -> list[FieldError]:
    errors = _claim_errors(volume.persistent_volume_claim, features)
    refused = []
    if volume.empty_dir is not None and not features.enabled(flags.EMPTY_DIR):
        errors.append(_disabled("EmptyDir", volume.name))
        if features.disabled(flags.EMPTY_DIR):
            refused.append("emptyDir")
    for path, attribute, flag, kind in _GATED_SOURCES:
        if getattr(volume, attribute) is None:
            continue
        if not features.enabled(flag):
            errors.append(_disabled(kind, volume.name))
        if features.disabled(flag):
            refused.append(path)
        else:
            errors.append(unsupported(path))
    if volume.downward_api is not None:
        refused.append("downwardAPI")
    claim = volume.persistent_volume_claim
    if claim is not None and features.disabled(flags.PERSISTENT_VOLUME_CLAIM):
        refused.append("persistentVolumeClaim")
    return [*errors, disallowed(*refused)] if refused else errors


def _claim_errors(
    claim: PersistentVolumeClaimVolumeSource | None, features: Features
) -> list[FieldError]:
    if claim is None:
        return []
    name = claim.claim_name
    errors = []
    if not features.enabled(flags.PERSISTENT_VOLUME_CLAIM):
        text = (
            f"Persistent volume claim support is disabled, but found persistent volume claim {name}"
        )
        errors.append(FieldError(message=text, paths=()))
    if not claim.read_only and not features.enabled(flags.PERSISTENT_VOLUME_WRITE):
        text = (
            f"Persistent volume write support is disabled, but found persistent volume claim {name} "
            "that is not read-only"
        )
        errors.append(FieldError(message=text, paths=()))
    return errors


def _items_errors(items: Sequence[KeyToPath]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        names = [name for name, value in (("key", item.key), ("path", item.path)) if not value]
        errors += at(f"items[{index}]", [missing(name) for name in names])
    return errors


def _empty_dir_errors(source: EmptyDirVolumeSource) -> list[FieldError]:
    errors = []
    if source.medium not in {"", "Memory"}:
        errors.append(invalid_value(source.medium, "medium"))
    if source.size_limit is not None:
        try:
            negative = parse_quantity(source.size_limit).value < 0
        except ValueError:
            negative = True
        if negative:
            errors.append(invalid_value(source.size_limit, "sizeLimit"))
    return errors


def _projection_errors(source: VolumeProjection) -> list[FieldError]:
    errors: list[FieldError] = []
    given = []
    for path, projection in (("secret", source.secret), ("configMap", source.config_map)):
        if projection is not None:
            given.append(path)
            found = [] if projection.name else [missing("name")]
            errors += at(path, [*found, *_items_errors(projection.items)])
    if source.service_account_token is not None:
        given.append("serviceAccountToken")
        if not source.service_account_token.path:
            errors.append(missing("serviceAccountToken.path"))
    if source.downward_api is not None:
        given.append("downwardAPI")
        for index, item in enumerate(source.downward_api.items):
            errors += at(f"downwardAPI.items[{index}]", _file_errors(item))
    if not given:
        names = ("secret", "configMap", "serviceAccountToken", "downwardAPI")
        errors.append(missing_one_of(*names))
    elif len(given) > 1:
        errors.append(multiple_one_of(*given))
    return errors


def _file_errors(item: DownwardApiFile) -> list[FieldError]:
    errors = []
    if item.field_ref is None and item.resource_field_ref is None:
        errors.append(missing_one_of("fieldRef", "resourceFieldRef"))
    if item.field_ref is not None and item.resource_field_ref is not None:
        text = "Within a single item, cannot set both"
        errors.append(FieldError(message=text, paths=("resourceFieldRef", "fieldRef")))
    if not item.path:
        errors.append(missing("path"))
    return errors


def mounts_errors(
    mounts: Sequence[VolumeMount], volumes: Mapping[str, Volume], features: Features
) -> list[FieldError]:
    """A container's mounts; paths begin with ``volumeMounts``."""
    seen: set[str] = set()
    errors: list[FieldError] = []
    for index, mount in enumerate(mounts):
        found = _propagation_errors(mount, features)
        volume = volumes.get(mount.name)
        if volume is None:
            text = "volumeMount has no matching volume"
            found.append(FieldError(message=text, paths=("name",)))
        found += _path_errors(mount.mount_path, seen)
        seen.add(_clean(mount.mount_path))
        found += _read_only_errors(mount, volume)
        errors += at(f"volumeMounts[{index}]", found)
    return errors


def _clean(path: str) -> str:
    if not path:
        return "."
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _path_errors(path: str, seen: set[str]) -> list[FieldError]:
    cleaned = _clean(path)
    if not path:
        return [missing("mountPath")]
    if cleaned in _RESERVED_PATHS:
        text = f'mountPath "{cleaned}" is a reserved path'
        return [FieldError(message=text, paths=("mountPath",))]
    if not path.startswith("/"):
        return [invalid_value(path, "mountPath")]
    if cleaned in seen:
        return [invalid_value(f'"{path}" must be unique', "mountPath")]
    return []


def _read_only_errors(mount: VolumeMount, volume: Volume | None) -> list[FieldError]:
    claim = volume.persistent_volume_claim if volume else None
    writable = volume is not None and (
        volume.empty_dir is not None or claim is not None or volume.ephemeral is not None
    )
    errors = []
    if not writable and not mount.read_only:
        text = "volume mount should be readOnly for this type of volume"
        errors.append(FieldError(message=text, paths=("readOnly",)))
    if claim is not None and claim.read_only and not mount.read_only:
        text = "volume is readOnly but volume mount is not"
        errors.append(FieldError(message=text, paths=("readOnly",)))
    return errors


def _propagation_errors(mount: VolumeMount, features: Features) -> list[FieldError]:
    errors = [disallowed("subPathExpr")] if mount.sub_path_expr else []
    if mount.mount_propagation is None:
        return errors
    if features.disabled(flags.MOUNT_PROPAGATION):
        errors.append(disallowed("mountPropagation"))
    else:
        errors.append(unsupported("mountPropagation"))
    if not features.enabled(flags.MOUNT_PROPAGATION):
        text = (
            "Volume Mount Propagation support is disabled, but found volume mount "
            f"{mount.name} with mount propagation"
        )
        errors.append(FieldError(message=text, paths=()))
    if mount.mount_propagation not in ("None", "HostToContainer"):
        text = "mount propagation should be set to None or HostToContainer"
        errors.append(FieldError(message=text, paths=("mountPropagation",)))
    return errors
