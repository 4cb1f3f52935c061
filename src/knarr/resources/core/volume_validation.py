"""Rules for volumes, in Kubernetes' words."""

from collections.abc import Sequence

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1123_label_problems
from knarr.resources.core.env_validation import field_path_errors, resource_path_errors
from knarr.resources.core.volume import (
    DownwardApiFile,
    EmptyDirVolumeSource,
    KeyToPath,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from knarr.resources.fielderrors import duplicates, forbidden, invalid, not_supported, required
from knarr.resources.quantity import parse_quantity

_MIN_TOKEN_S, _MAX_TOKEN_S = 600, 1 << 32
_MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"


def _mode_errors(path: str, mode: int | None) -> list[FieldError]:
    if mode is None or 0 <= mode <= 0o777:
        return []
    return [invalid(path, mode, _MODE_TEXT)]


def _path_errors(path: str) -> list[FieldError]:
    if not path:
        return [required("path")]
    if path.startswith("/"):
        return [invalid("path", path, "must be a relative path")]
    if ".." in path.split("/"):
        return [invalid("path", path, "must not contain '..'")]
    return []


def _item_errors(items: Sequence[KeyToPath]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        found = [] if item.key else [required("key")]
        found += _path_errors(item.path)
        found += _mode_errors("mode", item.mode)
        errors += at(f"items[{index}]", found)
    return errors


def _empty_dir_errors(source: EmptyDirVolumeSource) -> list[FieldError]:
    errors = []
    if source.medium not in {"", "Memory"}:
        errors.append(not_supported("medium", source.medium, ("", "Memory")))
    if source.size_limit is not None:
        try:
            if parse_quantity(source.size_limit).value < 0:
                errors.append(
                    forbidden("sizeLimit", "SizeLimit field must be a valid resource quantity")
                )
        except ValueError as error:
            errors.append(invalid("sizeLimit", str(source.size_limit), str(error)))
    return errors


def _file_errors(item: DownwardApiFile) -> list[FieldError]:
    errors = _path_errors(item.path) + _mode_errors("mode", item.mode)
    if (item.field_ref is None) == (item.resource_field_ref is None):
        text = "one of fieldRef and resourceFieldRef is required"
        errors.append(required("", text))
    if item.field_ref is not None:
        errors += at("fieldRef", field_path_errors(item.field_ref.field_path))
    if item.resource_field_ref is not None:
        reference = item.resource_field_ref
        errors += at("resourceFieldRef", resource_path_errors(reference.resource))
        if not reference.container_name:
            errors.append(required("resourceFieldRef.containerName"))
    return errors


def _projection_errors(source: VolumeProjection) -> list[FieldError]:
    given = [
        name
        for name, value in (
            ("secret", source.secret),
            ("configMap", source.config_map),
            ("downwardAPI", source.downward_api),
            ("serviceAccountToken", source.service_account_token),
        )
        if value is not None
    ]
    errors = [] if given else [required("", "must specify a source type")]
    errors += [forbidden(name, "may not specify more than 1 volume type") for name in given[1:]]
    if source.secret is not None:
        found = [] if source.secret.name else [required("name")]
        errors += at("secret", [*found, *_item_errors(source.secret.items)])
    if source.config_map is not None:
        found = [] if source.config_map.name else [required("name")]
        errors += at("configMap", [*found, *_item_errors(source.config_map.items)])
    if source.downward_api is not None:
        for index, item in enumerate(source.downward_api.items):
            errors += at(f"downwardAPI.items[{index}]", _file_errors(item))
    if source.service_account_token is not None:
        errors += at("serviceAccountToken", _token_errors(source.service_account_token))
    return errors


def _token_errors(source: ServiceAccountTokenProjection) -> list[FieldError]:
    errors = []
    seconds = source.expiration_seconds
    if seconds is not None and seconds < _MIN_TOKEN_S:
        text = "may not specify a duration less than 10 minutes"
        errors.append(invalid("expirationSeconds", seconds, text))
    if seconds is not None and seconds > _MAX_TOKEN_S:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid("expirationSeconds", seconds, text))
    return errors + _path_errors(source.path)


def _source_errors(volume: Volume) -> list[FieldError]:
    errors: list[FieldError] = []
    if volume.secret is not None:
        found = [] if volume.secret.secret_name else [required("secretName")]
        found += _mode_errors("defaultMode", volume.secret.default_mode)
        errors += at("secret", [*found, *_item_errors(volume.secret.items)])
    if volume.config_map is not None:
        found = [] if volume.config_map.name else [required("name")]
        found += _mode_errors("defaultMode", volume.config_map.default_mode)
        errors += at("configMap", [*found, *_item_errors(volume.config_map.items)])
    if volume.projected is not None:
        errors += _mode_errors("projected.defaultMode", volume.projected.default_mode)
        for index, source in enumerate(volume.projected.sources):
            errors += at(f"projected.sources[{index}]", _projection_errors(source))
    if volume.downward_api is not None:
        found = _mode_errors("defaultMode", volume.downward_api.default_mode)
        for index, item in enumerate(volume.downward_api.items):
            found += at(f"items[{index}]", _file_errors(item))
        errors += at("downwardAPI", found)
    if volume.empty_dir is not None:
        errors += at("emptyDir", _empty_dir_errors(volume.empty_dir))
    claim = volume.persistent_volume_claim
    if claim is not None and not claim.claim_name:
        errors.append(required("persistentVolumeClaim.claimName"))
    return errors


def volume_errors(volume: Volume) -> list[FieldError]:
    """One volume; paths are relative to it."""
    errors = []
    if not volume.name:
        errors.append(required("name"))
    else:
        errors += [
            invalid("name", volume.name, text) for text in dns1123_label_problems(volume.name)
        ]
    given = [
        name
        for name, value in (
            ("emptyDir", volume.empty_dir),
            ("secret", volume.secret),
            ("configMap", volume.config_map),
            ("projected", volume.projected),
            ("downwardAPI", volume.downward_api),
            ("persistentVolumeClaim", volume.persistent_volume_claim),
        )
        if value is not None
    ]
    if not given:
        errors.append(required("", "must specify a volume type"))
    errors += [forbidden(name, "may not specify more than 1 volume type") for name in given[1:]]
    return errors + _source_errors(volume)


def volumes_errors(volumes: Sequence[Volume]) -> list[FieldError]:
    """All volumes of a Pod; paths begin with ``volumes``."""
    errors = duplicates("volumes", [volume.name for volume in volumes])
    for index, volume in enumerate(volumes):
        errors += at(f"volumes[{index}]", volume_errors(volume))
    return errors
