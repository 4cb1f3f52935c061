"""Rules for environment variables, in Kubernetes' words."""

import re

from knarr.meta.fielderrors import FieldError, at
from knarr.resources.core.container import EnvFromSource, EnvVar, EnvVarSource, KeySelector
from knarr.resources.fielderrors import invalid, not_supported, required


def _selector_errors(selector: KeySelector) -> list[FieldError]:
    errors = []
    if not selector.name:
        errors.append(required("name"))
    if not selector.key:
        errors.append(required("key"))
    return errors


def env_errors(variable: EnvVar) -> list[FieldError]:
    """An environment variable."""
    errors: list[FieldError] = []
    if not variable.name:
        errors.append(required("name"))
    elif "=" in variable.name or not variable.name.isprintable():
        errors.append(
            invalid(
                "name",
                variable.name,
                "a valid environment variable name must consist only of printable ASCII characters "
                "other than '='",
            )
        )
    if variable.value_from is not None:
        if variable.value:
            detail = "may not be specified when `value` is not empty"
            errors.append(invalid("valueFrom", "", detail))
        errors += at("valueFrom", _source_errors(variable.value_from))
    return errors


def _source_errors(source: EnvVarSource) -> list[FieldError]:
    errors: list[FieldError] = []
    fields = {
        "fieldRef": source.field_ref,
        "resourceFieldRef": source.resource_field_ref,
        "configMapKeyRef": source.config_map_key_ref,
        "secretKeyRef": source.secret_key_ref,
    }
    given = [name for name, value in fields.items() if value is not None]
    if not given:
        names = ", ".join(f"`{name}`" for name in fields)
        errors.append(invalid("", "", f"must specify one of: {names}"))
    elif len(given) > 1:
        errors.append(invalid("", "", "may not have more than one field specified at a time"))
    if source.config_map_key_ref:
        errors += at("configMapKeyRef", _selector_errors(source.config_map_key_ref))
    if source.secret_key_ref:
        errors += at("secretKeyRef", _selector_errors(source.secret_key_ref))
    if source.field_ref:
        errors += at("fieldRef", field_path_errors(source.field_ref.field_path))
    if source.resource_field_ref:
        reference = source.resource_field_ref
        errors += at("resourceFieldRef", resource_path_errors(reference.resource))
    return errors


_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_KEYED_PATH = re.compile(r"metadata\.(labels|annotations)(\['[^']+'\])?")
_RESOURCE_PATHS = tuple(
    f"{side}.{name}"
    for side in ("limits", "requests")
    for name in ("cpu", "memory", "ephemeral-storage")
)


def field_path_errors(path: str) -> list[FieldError]:
    """A field of the Pod that its containers may see."""
    if not path:
        return [required("fieldPath")]
    if path in _FIELD_PATHS or _KEYED_PATH.fullmatch(path):
        return []
    return [not_supported("fieldPath", path, _FIELD_PATHS)]


def resource_path_errors(resource: str) -> list[FieldError]:
    """A resource of a container that the container may see."""
    if not resource:
        return [required("resource")]
    if resource in _RESOURCE_PATHS:
        return []
    return [not_supported("resource", resource, _RESOURCE_PATHS)]


def env_from_errors(source: EnvFromSource) -> list[FieldError]:
    """A ConfigMap or Secret as variables."""
    errors = []
    if source.config_map_ref and source.secret_ref:
        errors.append(invalid("", "", "may not have more than one field specified at a time"))
    if not source.config_map_ref and not source.secret_ref:
        errors.append(invalid("", "", "must specify one of: `configMapRef` or `secretRef`"))
    if source.config_map_ref and not source.config_map_ref.name:
        errors.append(required("configMapRef.name"))
    if source.secret_ref and not source.secret_ref.name:
        errors.append(required("secretRef.name"))
    return errors
