"""Rules for the metadata of Knative's objects, and who made and changed them."""

from collections.abc import Mapping

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, invalid_value, missing
from knarr.meta.names import dns1035_label_problems
from knarr.meta.objects import ObjectMeta
from knarr.resources.config.autoscaler import AutoscalerConfig
from knarr.resources.kind import Admission
from knarr.resources.serving.annotations import CREATOR, LAST_MODIFIER, misplaced_errors
from knarr.resources.serving.autoscaling_annotations import autoscaling_errors


def prefix_problems(prefix: str) -> list[str]:
    """Why names beginning with ``prefix`` would be no DNS-1035 labels."""
    stem = f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
    return dns1035_label_problems(stem)


def name_errors(metadata: ObjectMeta) -> list[FieldError]:
    """The name; paths are relative to ``metadata``."""
    if metadata.generate_name and (problems := prefix_problems(metadata.generate_name)):
        text = f"not a DNS 1035 label prefix: {listed(problems)}"
        return [FieldError(message=text, paths=("generateName",))]
    if metadata.name and (problems := dns1035_label_problems(metadata.name)):
        text = f"not a DNS 1035 label: {listed(problems)}"
        return [FieldError(message=text, paths=("name",))]
    if not metadata.name and not metadata.generate_name:
        return [FieldError(message="name or generateName is required", paths=("name",))]
    return []


def listed(problems: list[str]) -> str:
    """A list of texts as Go prints it."""
    return f"[{' '.join(problems)}]"


def object_errors(metadata: ObjectMeta, autoscaler: AutoscalerConfig | None) -> list[FieldError]:
    """Name and autoscaling annotations; paths are relative to ``metadata``.

    Args:
        metadata: of the object.
        autoscaler: the configuration when autoscaling annotations belong here, None when they do not.
    """
    if autoscaler is None:
        found = misplaced_errors(metadata.annotations)
    else:
        found = autoscaling_errors(metadata.annotations, autoscaler)
    return [*name_errors(metadata), *(error.at("annotations") for error in found)]


def owner_label_errors(metadata: ObjectMeta, label: str, kind: str) -> list[FieldError]:
    """A label that names an owner must be true; paths are relative to ``metadata``."""
    name = (metadata.labels or {}).get(label)
    if name is None:
        return []
    owners = metadata.owner_references or ()
    if any(owner.kind == kind and owner.name == name for owner in owners):
        return []
    return [missing(f"labels.{label}")]


def with_user(
    metadata: ObjectMeta, admission: Admission, *, old_spec: object, new_spec: object
) -> ObjectMeta:
    """Creator and last modifier: both on creation, the latter when the spec changes."""
    user = admission.user.name
    annotations = dict(metadata.annotations or {})
    if admission.operation == "UPDATE":
        if old_spec == new_spec:
            return metadata
    else:
        annotations[CREATOR] = user
    annotations[LAST_MODIFIER] = user
    return replace(metadata, annotations=annotations)


def user_errors(
    old: Mapping[str, str] | None,
    new: Mapping[str, str] | None,
    *,
    old_spec: object,
    new_spec: object,
) -> list[FieldError]:
    """Nobody rewrites history; paths are relative to ``metadata.annotations``."""
    before, after = old or {}, new or {}
    errors = []
    if before.get(CREATOR) != after.get(CREATOR):
        errors.append(FieldError(message="annotation value is immutable", paths=(CREATOR,)))
    if old_spec == new_spec and before.get(LAST_MODIFIER) != after.get(LAST_MODIFIER):
        errors.append(invalid_value(after.get(LAST_MODIFIER, ""), LAST_MODIFIER))
    return errors
