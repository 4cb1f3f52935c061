"""Conditions of ``apps/v1`` kinds (``SetDeploymentCondition`` and its like); pure."""

from knarr.resources.core.references import Condition

Conditions = tuple[Condition, ...]


def find(conditions: Conditions, kind: str) -> Condition | None:
    """The condition of a type, or None."""
    return next((item for item in conditions if item.type == kind), None)


def without(conditions: Conditions, kind: str) -> Conditions:
    """All but the condition of a type."""
    return tuple(item for item in conditions if item.type != kind)


def put(conditions: Conditions, new: Condition, *, touch: bool = False) -> Conditions:
    """Set a condition in place.

    The transition time moves only with the status. A condition whose status and reason are as before is
    left alone altogether, unless ``touch`` asks for the new update time and message.
    """
    old = find(conditions, new.type)
    if old is None:
        return (*conditions, new)
    if not touch and (old.status, old.reason) == (new.status, new.reason):
        return conditions
    if old.status == new.status:
        new = Condition(
            type=new.type,
            status=new.status,
            last_update_time=new.last_update_time,
            last_transition_time=old.last_transition_time,
            reason=new.reason,
            message=new.message,
        )
    return tuple(new if item.type == new.type else item for item in conditions)
