"""Deleting a definition deletes its kind's objects first; what that means for the status is pure.

Source of reasons and texts: ``apiextensions-apiserver``'s ``controller/finalizer``; how many objects are
left, and what holds them, is added here.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta
from knarr.resources.apiextensions.customresourcedefinition import (
    CLEANUP_FINALIZER,
    TERMINATING,
    CustomResourceDefinition,
    CustomResourceDefinitionStatus,
    with_condition,
)
from knarr.resources.core.references import Condition


def waits_for_cleanup(definition: CustomResourceDefinition) -> bool:
    """Whether a deleted definition is held until its objects are gone."""
    return definition.deleting and CLEANUP_FINALIZER in (definition.metadata.finalizers or ())


def cleaning_status(
    definition: CustomResourceDefinition, remaining: Sequence[ObjectMeta], now: str
) -> CustomResourceDefinitionStatus:
    """The status while objects are left.

    Args:
        definition: being deleted.
        remaining: the metadata of what is left.
        now: RFC 3339.
    """
    held = Counter(name for metadata in remaining for name in metadata.finalizers or ())
    message = f"CustomResource deletion is in progress: {_count(len(remaining))} remaining"
    if held:
        names = ", ".join(f"{name} in {count}" for name, count in sorted(held.items()))
        message += f"; finalizers remaining: {names}"
    return with_condition(
        definition.status or CustomResourceDefinitionStatus(),
        Condition(
            type=TERMINATING, status="True", reason="InstanceDeletionInProgress", message=message
        ),
        now,
    )


def _count(number: int) -> str:
    return "1 instance" if number == 1 else f"{number} instances"


def released(definition: CustomResourceDefinition) -> tuple[str, ...]:
    """The finalizers that stay once all objects are gone."""
    finalizers = definition.metadata.finalizers or ()
    return tuple(name for name in finalizers if name != CLEANUP_FINALIZER)


def completed_status(
    definition: CustomResourceDefinition, now: str
) -> CustomResourceDefinitionStatus:
    """The status once all objects are gone and someone else's finalizer still holds the definition."""
    done = Condition(
        type=TERMINATING,
        status="False",
        reason="InstanceDeletionCompleted",
        message="removed all instances",
    )
    status = definition.status or CustomResourceDefinitionStatus()
    return replace(with_condition(status, done, now))
