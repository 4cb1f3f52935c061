"""Rules for object metadata (``apimachinery/pkg/api/validation``, ``util/validation``)."""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.meta.fielderrors import FieldError
from knarr.meta.names import dns1123_subdomain_problems
from knarr.meta.objects import ObjectMeta
from knarr.meta.qualified import label_value_problems, qualified_name_problems
from knarr.resources.fielderrors import invalid, required, too_long

NameRule = Callable[[str], list[str]]

ANNOTATIONS_LIMIT_BYTES = 256 * 1024


def label_errors(labels: Mapping[str, str] | None, path: str) -> list[FieldError]:
    """What is wrong with a set of labels."""
    errors = []
    for key, value in (labels or {}).items():
        errors += [invalid(path, key, text) for text in qualified_name_problems(key)]
        errors += [invalid(path, value, text) for text in label_value_problems(value)]
    return errors


def annotation_errors(annotations: Mapping[str, str] | None, path: str) -> list[FieldError]:
    """What is wrong with a set of annotations."""
    errors = []
    total = 0
    for key, value in (annotations or {}).items():
        errors += [invalid(path, key, text) for text in qualified_name_problems(key.lower())]
        total += len(key.encode()) + len(value.encode())
    if total > ANNOTATIONS_LIMIT_BYTES:
        errors.append(too_long(path, ANNOTATIONS_LIMIT_BYTES))
    return errors


def metadata_errors(
    metadata: ObjectMeta, name_rule: NameRule = dns1123_subdomain_problems
) -> list[FieldError]:
    """What is wrong with an object's metadata, in Kubernetes' words; paths begin with ``metadata``."""
    errors = []
    if not metadata.name and not metadata.generate_name:
        errors.append(required("metadata.name", "name or generateName is required"))
    if metadata.generate_name:
        stem = metadata.generate_name.removesuffix("-") or "-"
        errors += [
            invalid("metadata.generateName", metadata.generate_name, text)
            for text in name_rule(stem)
        ]
    if metadata.name:
        errors += [
            invalid("metadata.name", metadata.name, text) for text in name_rule(metadata.name)
        ]
    errors += label_errors(metadata.labels, "metadata.labels")
    errors += annotation_errors(metadata.annotations, "metadata.annotations")
    errors += _owner_errors(metadata)
    errors += [
        invalid(f"metadata.finalizers[{index}]", name, text)
        for index, name in enumerate(metadata.finalizers or ())
        for text in qualified_name_problems(name)
    ]
    return errors


def _owner_errors(metadata: ObjectMeta) -> list[FieldError]:
    errors = []
    for index, owner in enumerate(metadata.owner_references or ()):
        path = f"metadata.ownerReferences[{index}]"
        fields: dict[str, Any] = {
            "apiVersion": owner.api_version,
            "kind": owner.kind,
            "name": owner.name,
            "uid": owner.uid,
        }
        errors += [
            invalid(f"{path}.{name}", value, "must not be empty")
            for name, value in fields.items()
            if not value
        ]
    controllers = [owner for owner in metadata.owner_references or () if owner.controller]
    if len(controllers) > 1:
        names = ", ".join(f"{owner.kind}/{owner.name}" for owner in controllers)
        errors.append(
            invalid(
                "metadata.ownerReferences",
                names,
                "Only one reference can have Controller set to true",
            )
        )
    return errors
