"""Condition sets as Knative computes them (``knative.dev/pkg/apis/condition_set.go``).

A living set has a happy condition (``Ready``) and dependents. A dependent that is False makes Ready
False with the same reason and message; Unknown makes it Unknown unless another dependent is False; when
a dependent becomes True, Ready is recomputed from the others. Pure: every function returns new
conditions; the transition time moves only when something else in the condition changed.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from knarr.kits.clock import format_timestamp
from knarr.meta.objects import Struct

Truth = Literal["True", "False", "Unknown"]


class Condition(Struct, frozen=True, kw_only=True):
    """One entry of ``status.conditions`` (Knative's ``apis.Condition``)."""

    type: str
    status: Truth
    severity: str = ""
    last_transition_time: str | None = None
    reason: str = ""
    message: str = ""


Conditions = tuple[Condition, ...]


def find_condition(conditions: Conditions | None, kind: str) -> Condition | None:
    """The condition of a type, or None."""
    return next((item for item in conditions or () if item.type == kind), None)


def is_true(conditions: Conditions | None, kind: str) -> bool:
    """Whether a condition is there and True."""
    found = find_condition(conditions, kind)
    return found is not None and found.status == "True"


def is_false(conditions: Conditions | None, kind: str) -> bool:
    """Whether a condition is there and False."""
    found = find_condition(conditions, kind)
    return found is not None and found.status == "False"


@dataclass(frozen=True, slots=True)
class ConditionSet:
    """The conditions a kind lives by: one happy condition and its dependents."""

    dependents: tuple[str, ...]
    happy: str = "Ready"

    def _terminal(self, kind: str) -> bool:
        return kind == self.happy or kind in self.dependents

    def initialize(self, conditions: Conditions | None, now: dt.datetime) -> Conditions:
        """Every condition of the set exists; new ones are Unknown, or True when Ready already is."""
        result = conditions or ()
        happy = find_condition(result, self.happy)
        if happy is None:
            happy = Condition(type=self.happy, status="Unknown")
            result = self._set(result, happy, now)
        initial: Truth = "True" if happy.status == "True" else "Unknown"
        for kind in self.dependents:
            if find_condition(result, kind) is None:
                result = self._set(result, Condition(type=kind, status=initial), now)
        return result

    def _set(self, conditions: Conditions, new: Condition, now: dt.datetime) -> Conditions:
        severity = "" if self._terminal(new.type) else "Info"
        new = Condition(
            type=new.type,
            status=new.status,
            severity=severity,
            reason=new.reason,
            message=new.message,
            last_transition_time=format_timestamp(now),
        )
        old = find_condition(conditions, new.type)
        if old is not None and (old.status, old.severity, old.reason, old.message) == (
            new.status, new.severity, new.reason, new.message
        ):  # fmt: skip
            return conditions
        others = tuple(item for item in conditions if item.type != new.type)
        return tuple(sorted((*others, new), key=lambda item: item.type))

    def mark_true(
        self,
        conditions: Conditions | None,
        kind: str,
        now: dt.datetime,
        *,
        reason: str = "",
        message: str = "",
    ) -> Conditions:
        """A condition became True; Ready is recomputed."""
        result = self._set(
            conditions or (),
            Condition(type=kind, status="True", reason=reason, message=message),
            now,
        )
        return self._recompute(result, kind, now)

    def _recompute(self, conditions: Conditions, kind: str, now: dt.datetime) -> Conditions:
        if not self._terminal(kind):
            return conditions
        worst = self._unhappy_dependent(conditions)
        if worst is None:
            return self._set(conditions, Condition(type=self.happy, status="True"), now)
        return self._set(
            conditions,
            Condition(
                type=self.happy, status=worst.status, reason=worst.reason, message=worst.message
            ),
            now,
        )

    def _unhappy_dependent(self, conditions: Conditions) -> Condition | None:
        unhappy = [
            item for item in conditions if item.type in self.dependents and item.status != "True"
        ]
        unhappy.sort(key=lambda item: item.last_transition_time or "", reverse=True)
        false = [item for item in unhappy if item.status == "False"]
        return (false or unhappy or [None])[0]  # type: ignore[list-item]  # None when all are True

    def mark_false(
        self, conditions: Conditions | None, kind: str, reason: str, message: str, now: dt.datetime
    ) -> Conditions:
        """A condition became False; a dependent drags Ready along."""
        failed = Condition(type=kind, status="False", reason=reason, message=message)
        result = self._set(conditions or (), failed, now)
        if kind in self.dependents:
            happy = Condition(type=self.happy, status="False", reason=reason, message=message)
            result = self._set(result, happy, now)
        return result

    def mark_unknown(
        self, conditions: Conditions | None, kind: str, reason: str, message: str, now: dt.datetime
    ) -> Conditions:
        """A condition became Unknown; Ready follows unless another dependent is False."""
        unknown = Condition(type=kind, status="Unknown", reason=reason, message=message)
        result = self._set(conditions or (), unknown, now)
        if kind not in self.dependents:
            return result
        worst = self._unhappy_dependent(result)
        if worst is not None and worst.status == "False":
            happy = Condition(
                type=self.happy, status="False", reason=worst.reason, message=worst.message
            )
        else:
            happy = Condition(type=self.happy, status="Unknown", reason=reason, message=message)
        return self._set(result, happy, now)
