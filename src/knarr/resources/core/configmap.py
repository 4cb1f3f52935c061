"""ConfigMap (``v1``)."""

import re
from collections.abc import Mapping
from typing import Any

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource
from knarr.resources.columns import get
from knarr.resources.config.guard import SYSTEM_NAMESPACE, config_errors
from knarr.resources.fielderrors import forbidden, invalid, too_long
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

LIMIT_BYTES = 1024 * 1024
IMMUTABLE_TEXT = "field is immutable when `immutable` is set"
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
    "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


class ConfigMap(Resource, frozen=True, kw_only=True):
    """Configuration as text (``data``) or bytes (``binaryData``, base64 on the wire)."""

    data: Mapping[str, str] | None = None
    binary_data: Mapping[str, bytes] | None = None
    immutable: bool | None = None


def data_key_errors(path: str, data: Mapping[str, object]) -> list[FieldError]:
    """Keys of a ConfigMap or Secret; they become file names."""
    errors = []
    for key in data:
        where = f"{path}[{key}]"
        if len(key) > 253:
            errors.append(invalid(where, key, "must be no more than 253 characters"))
        if not _KEY.fullmatch(key):
            errors.append(invalid(where, key, _KEY_TEXT))
        elif key == ".":
            errors.append(invalid(where, key, "must not be '.'"))
        elif key.startswith(".."):
            errors.append(invalid(where, key, "must not start with '..'"))
    return errors


def validate_config_map(subject: ConfigMap, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; Knative's own ConfigMaps must parse, too."""
    data, binary = subject.data or {}, subject.binary_data or {}
    errors = metadata_errors(subject.metadata)
    errors += data_key_errors("data", data)
    errors += data_key_errors("binaryData", binary)
    errors += [
        invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in data
        if key in binary
    ]
    size = sum(len(value.encode()) for value in data.values())
    if size + sum(len(value) for value in binary.values()) > LIMIT_BYTES:
        errors.append(too_long("", LIMIT_BYTES))
    if isinstance(admission.old, ConfigMap):
        errors += _update_errors(admission.old, subject)
    if subject.metadata.namespace == SYSTEM_NAMESPACE:
        errors += config_errors(subject.metadata.name, data, subject.metadata.annotations or {})
    return tuple(errors)


def _update_errors(old: ConfigMap, new: ConfigMap) -> list[FieldError]:
    if not old.immutable:
        return []
    errors = []
    if not new.immutable:
        errors.append(forbidden("immutable", IMMUTABLE_TEXT))
    if (old.data or {}) != (new.data or {}):
        errors.append(forbidden("data", IMMUTABLE_TEXT))
    if (old.binary_data or {}) != (new.binary_data or {}):
        errors.append(forbidden("binaryData", IMMUTABLE_TEXT))
    return errors


def _data_cell(document: Mapping[str, Any], _: float) -> object:
    return len(get(document, "data") or ()) + len(get(document, "binaryData") or ())


CONFIG_MAP: Kind[ConfigMap] = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short_names=("cm",),
    builtin=True,
    has_status=False,
    model=ConfigMap,
    columns=(Column("Data", "string", _data_cell),),
    validate=validate_config_map,
)
