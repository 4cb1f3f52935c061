"""A pass's view of conditions: marks are made one after another, the result is groomed at the end.

A condition may change and change back within one pass; ``finish`` then restores its old transition
time, so that a second pass over an unchanged world writes nothing (Knative's
``groomConditionsTransitionTime``).
"""

import datetime as dt

import msgspec

from knarr.meta.conditions import Condition, Conditions, ConditionSet, find_condition


class Marks:
    """The conditions of one object during one pass.

    Args:
        kind: the living set.
        before: as stored.
        now: the transition time of what changes.
    """

    __slots__ = ("_before", "_kind", "_now", "current")

    def __init__(self, kind: ConditionSet, before: Conditions | None, now: dt.datetime) -> None:
        self._kind = kind
        self._before = before or ()
        self._now = now
        self.current = kind.initialize(before, now)

    def true(self, kind: str, reason: str = "", message: str = "") -> None:
        """The condition holds."""
        self.current = self._kind.mark_true(
            self.current, kind, self._now, reason=reason, message=message
        )

    def false(self, kind: str, reason: str, message: str) -> None:
        """The condition does not hold."""
        self.current = self._kind.mark_false(self.current, kind, reason, message, self._now)

    def unknown(self, kind: str, reason: str, message: str) -> None:
        """It is not known yet whether the condition holds."""
        self.current = self._kind.mark_unknown(self.current, kind, reason, message, self._now)

    def copy(self, kind: str, source: Condition | None) -> None:
        """The condition follows another object's; nothing when that has none."""
        match source:
            case None:
                return
            case Condition(status="True"):
                self.true(kind)
            case Condition(status="False"):
                self.false(kind, source.reason, source.message)
            case _:
                self.unknown(kind, source.reason, source.message)

    def get(self, kind: str) -> Condition | None:
        """A condition as it stands now."""
        return find_condition(self.current, kind)

    def is_true(self, kind: str) -> bool:
        """Whether a condition is True now."""
        found = self.get(kind)
        return found is not None and found.status == "True"

    def is_false(self, kind: str) -> bool:
        """Whether a condition is False now."""
        found = self.get(kind)
        return found is not None and found.status == "False"

    def finish(self) -> Conditions:
        """The conditions to store."""
        return tuple(
            _groomed(find_condition(self._before, item.type), item) for item in self.current
        )


def _groomed(before: Condition | None, after: Condition) -> Condition:
    if before is None:
        return after
    restored = msgspec.structs.replace(after, last_transition_time=before.last_transition_time)
    return before if restored == before else after
