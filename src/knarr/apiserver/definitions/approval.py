"""Groups under k8s.io and kubernetes.io belong to that community: a definition there needs its leave.

Source: ``apiextensions-apiserver/pkg/apihelpers``; texts as there.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from knarr.apiserver.structural.texts import invalid, key, required
from knarr.meta.fielderrors import FieldError
from knarr.resources.apiextensions.customresourcedefinition import (
    APPROVED,
    CustomResourceDefinition,
)
from knarr.resources.core.references import Condition

ANNOTATION: Final = "api-approved.kubernetes.io"
_SEE: Final = "see https://github.com/kubernetes/enhancements/pull/1111"
_DOMAINS: Final = ("k8s.io", "kubernetes.io")


class Approval(NamedTuple):
    """What an annotation says: the condition's status and reason, and why."""

    status: str
    reason: str
    message: str


def is_protected(group: str) -> bool:
    """Whether a group belongs to the Kubernetes community."""
    return any(group == domain or group.endswith(f".{domain}") for domain in _DOMAINS)


def approval_of(annotations: Mapping[str, str] | None) -> Approval:
    """What a definition's annotations say of its approval."""
    value = (annotations or {}).get(ANNOTATION, "")
    needed = f'protected groups must have approval annotation "{ANNOTATION}"'
    if not value:
        return Approval("False", "MissingAnnotation", f"{needed}, {_SEE}")
    if value.startswith("unapproved"):
        return Approval("False", "UnapprovedAnnotation", f'not approved: "{value}"')
    if _is_url(value):
        return Approval("True", "ApprovedAnnotation", f"approved in {value}")
    return Approval(
        "False",
        "InvalidAnnotation",
        f'{needed} with either a URL or a reason starting with "unapproved", {_SEE}',
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def approval_errors(
    definition: CustomResourceDefinition, old: CustomResourceDefinition | None
) -> tuple[FieldError, ...]:
    """What is wrong with the approval; what did not change is not judged again."""
    group = definition.spec.group if definition.spec is not None else None
    if not is_protected(group or ""):
        return ()
    annotations = definition.metadata.annotations
    found = approval_of(annotations)
    if old is not None and approval_of(old.metadata.annotations).reason == found.reason:
        return ()
    path = key("metadata.annotations", ANNOTATION)
    if found.reason == "MissingAnnotation":
        return (required(path, found.message),)
    if found.reason == "InvalidAnnotation":
        return (invalid(path, (annotations or {})[ANNOTATION], found.message),)
    return ()


def approval_condition(definition: CustomResourceDefinition) -> Condition | None:
    """The condition of a definition in a protected group, None for others."""
    group = definition.spec.group if definition.spec is not None else None
    if not is_protected(group or ""):
        return None
    found = approval_of(definition.metadata.annotations)
    return Condition(type=APPROVED, status=found.status, reason=found.reason, message=found.message)
