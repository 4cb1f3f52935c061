"""Rules for object metadata (``apimachinery/pkg/api/validation``, ``util/validation``)."""

from collections.abc import Callable, Mapping

from knarr.meta.fielderrors import FieldError
from knarr.meta.names import dns1123_subdomain_problems
from knarr.meta.objects import ObjectMeta, OwnerReference
from knarr.meta.qualified import label_value_problems, qualified_name_problems
from knarr.resources.fielderrors import invalid, required, too_long

NameRule = Callable[[str], list[str]]

_FINALIZERS = "metadata.finalizers"
_OWNERS = "metadata.ownerReferences"
_STANDARD_FINALIZERS = frozenset({"orphan", "foregroundDeletion", "kubernetes"})
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
    metadata: ObjectMeta,
    name_rule: NameRule = dns1123_subdomain_problems,
    *,
    builtin: bool = True,
) -> list[FieldError]:
    """What is wrong with an object's metadata, in Kubernetes' words; paths begin with ``metadata``.

    Args:
        metadata: of the object.
        name_rule: for its name.
        builtin: of one of Kubernetes' own kinds, whose finalizers must be qualified.
    """
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
    errors += _owner_errors(metadata.owner_references or ())
    return errors + _finalizer_errors(metadata.finalizers or (), builtin=builtin)


def _finalizer_errors(finalizers: tuple[str, ...], *, builtin: bool) -> list[FieldError]:
    errors = [
        invalid(_FINALIZERS, name, text)
        for name in finalizers
        for text in qualified_name_problems(name)
    ]
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid(_FINALIZERS, finalizers, text))
    if builtin and not errors:
        text = "name is neither a standard finalizer name nor is it fully qualified"
        errors += [
            invalid(f"{_FINALIZERS}[{index}]", name, text)
            for index, name in enumerate(finalizers)
            if "/" not in name and name not in _STANDARD_FINALIZERS
        ]
    return errors


def _owner_errors(owners: tuple[OwnerReference, ...]) -> list[FieldError]:
    errors = []
    for owner in owners:
        group, slash, version = owner.api_version.partition("/")
        if not (version if slash else group) or "/" in version:
            text = "version must not be empty"
            errors.append(invalid(f"{_OWNERS}.apiVersion", owner.api_version, text))
        fields = {"kind": owner.kind, "name": owner.name, "uid": owner.uid}
        errors += [
            invalid(f"{_OWNERS}.{name}", value, "must not be empty")
            for name, value in fields.items()
            if not value
        ]
        if (owner.api_version, owner.kind) == ("v1", "Event"):
            text = "/v1, Kind=Event is disallowed from being an owner"
            errors.append(invalid(_OWNERS, owner, text))
    controllers = [owner for owner in owners if owner.controller]
    if len(controllers) > 1:
        first, second = (f"{owner.kind}/{owner.name}" for owner in controllers[:2])
        text = (
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{first} and {second}"
        )
        errors.append(invalid(_OWNERS, owners, text))
    return errors
