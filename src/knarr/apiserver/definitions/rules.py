"""What happens to a CustomResourceDefinition while it is written or deleted."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from knarr.apiserver.definitions.approval import approval_errors
from knarr.apiserver.structural import (
    cel_errors,
    definition_errors,
    definition_update_errors,
    unknown_formats,
)
from knarr.apiserver.structural.texts import child, forbidden, invalid, key, quoted
from knarr.meta.errors import Forbidden
from knarr.meta.fielderrors import FieldError
from knarr.resources.apiextensions.customresourcedefinition import (
    CLEANUP_FINALIZER,
    CUSTOM_RESOURCE_DEFINITION,
    TERMINATING,
    CustomResourceDefinition,
    CustomResourceDefinitionStatus,
    Names,
    with_condition,
)
from knarr.resources.core.references import Condition
from knarr.resources.kind import Kind

COLLECTION: Final = CUSTOM_RESOURCE_DEFINITION.qualified_plural
_WEBHOOK_DETAIL: Final = (
    "conversion webhooks are not supported by this version of Knarr: a definition with several "
    "versions needs the strategy None, which changes nothing but the apiVersion"
)
_TAKEN_DETAIL: Final = "is served by Knarr itself and cannot be defined"


class DefinitionRules:
    """The rules for definitions.

    Args:
        kinds: those with models; a definition cannot take their places.

    A definition that stands for one of Knarr's own custom kinds may be written (installers do), but
    changes nothing of what is served; therefore it is judged by its form alone, and cannot be deleted.
    """

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        known = tuple(kinds)
        self.collection = COLLECTION
        self.own = frozenset(kind.qualified_plural for kind in known if not kind.builtin)
        self._builtin = frozenset(kind.qualified_plural for kind in known if kind.builtin)

    def allocate(
        self, subject: CustomResourceDefinition, old: CustomResourceDefinition | None = None
    ) -> tuple[CustomResourceDefinition, tuple[FieldError, ...]]:
        """The definition with what the server knows of it, and what is wrong with it."""
        errors = approval_errors(subject, old)
        if old is None or old.spec != subject.spec:
            errors += self._errors(subject, old)
        status = _status(subject, creating=old is None)
        if not status.stored_versions:
            detail = "must have at least one stored version"
            errors += (invalid("status.storedVersions", None, detail),)
        return replace(subject, status=status), errors

    def _errors(
        self, subject: CustomResourceDefinition, old: CustomResourceDefinition | None
    ) -> tuple[FieldError, ...]:
        document = _document(subject)
        errors = definition_errors(document)
        if old is not None:
            # a name that fits no more is what must not change: that alone is said
            errors = tuple(error for error in errors if error.paths != ("metadata.name",))
            errors += definition_update_errors(document, _document(old))
        return errors or self._policy_errors(subject.metadata.name, document)

    def _policy_errors(self, name: str, document: Mapping[str, Any]) -> tuple[FieldError, ...]:
        """What a well-formed definition may not ask for here."""
        if name in self.own:
            return ()
        errors: list[FieldError] = []
        spec = document["spec"]
        if name in self._builtin:
            errors.append(invalid("metadata.name", name, _TAKEN_DETAIL))
        versions = spec["versions"]
        if spec["conversion"]["strategy"] == "Webhook" and len(versions) > 1:
            errors.append(forbidden("spec.conversion.strategy", _WEBHOOK_DETAIL))
        for index, version in enumerate(versions):
            path = child(key("spec.versions", index), "schema.openAPIV3Schema")
            errors += cel_errors(version["schema"]["openAPIV3Schema"], path)
        return (*errors, *_warnings(versions))

    def deleted(self, subject: CustomResourceDefinition, now: str) -> CustomResourceDefinition:
        """What the first DELETE makes of a definition: it waits until the kind's objects are gone.

        As in Kubernetes it counts as no new generation, and there is no grace period.

        Args:
            subject: not yet being deleted.
            now: RFC 3339.

        Raises:
            Forbidden: it stands for a kind of Knarr's own.
        """
        name = subject.metadata.name
        if name in self.own:
            raise Forbidden(
                f'{COLLECTION} "{name}" is forbidden: this kind is part of Knarr and always served: '
                "its definition cannot be deleted",
                group=CUSTOM_RESOURCE_DEFINITION.group,
                kind=CUSTOM_RESOURCE_DEFINITION.plural,
                name=name,
            )
        finalizers = subject.metadata.finalizers or ()
        if CLEANUP_FINALIZER not in finalizers:
            finalizers = (*finalizers, CLEANUP_FINALIZER)
        pending = Condition(
            type=TERMINATING,
            status="True",
            reason="InstanceDeletionPending",
            message="CustomResourceDefinition marked for deletion; CustomResource deletion will begin "
            "soon",
        )
        return replace(
            subject,
            metadata=replace(subject.metadata, finalizers=finalizers, deletion_timestamp=now),
            status=with_condition(subject.status or CustomResourceDefinitionStatus(), pending, now),
        )


def _warnings(versions: list[dict[str, Any]]) -> Iterator[FieldError]:
    """What will be ignored."""
    formats: set[str] = set()
    for version in versions:
        formats |= unknown_formats(version["schema"]["openAPIV3Schema"])
    for name in sorted(formats):
        yield FieldError(message=f"unrecognized format {quoted(name)}", paths=(), level="warning")


def _document(subject: CustomResourceDefinition) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(subject))
    return decoded


def _status(
    definition: CustomResourceDefinition, *, creating: bool
) -> CustomResourceDefinitionStatus:
    """The status with the stored version; a new definition has no conditions yet."""
    status = definition.status or CustomResourceDefinitionStatus()
    if creating:
        status = CustomResourceDefinitionStatus(
            conditions=(), accepted_names=Names(plural="", kind="")
        )
    versions = definition.spec.versions if definition.spec is not None else None
    stored = status.stored_versions or ()
    for version in versions or ():
        if version.storage and version.name is not None and version.name not in stored:
            stored = (*stored, version.name)
    return replace(status, stored_versions=stored)
