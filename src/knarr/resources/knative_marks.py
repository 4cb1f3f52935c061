"""Changing one condition of a Knative status: the verbs that every kind's transitions are made of."""

import datetime as dt
from typing import TypeVar

from msgspec.structs import replace

from knarr.meta.conditions import Condition, ConditionSet
from knarr.resources.knative import Status

S = TypeVar("S", bound=Status)


def initialized(conditions: ConditionSet, status: S, now: dt.datetime) -> S:
    """Every condition of the set exists."""
    return replace(status, conditions=conditions.initialize(status.conditions, now))


def true(
    conditions: ConditionSet,
    status: S,
    kind: str,
    now: dt.datetime,
    *,
    reason: str = "",
    message: str = "",
) -> S:
    """A condition became True."""
    marked = conditions.mark_true(status.conditions, kind, now, reason=reason, message=message)
    return replace(status, conditions=marked)


def false(
    conditions: ConditionSet, status: S, kind: str, reason: str, message: str, now: dt.datetime
) -> S:
    """A condition became False."""
    marked = conditions.mark_false(status.conditions, kind, reason, message, now)
    return replace(status, conditions=marked)


def unknown(
    conditions: ConditionSet, status: S, kind: str, reason: str, message: str, now: dt.datetime
) -> S:
    """A condition became Unknown."""
    marked = conditions.mark_unknown(status.conditions, kind, reason, message, now)
    return replace(status, conditions=marked)


def copied(
    conditions: ConditionSet, status: S, kind: str, source: Condition, now: dt.datetime
) -> S:
    """A condition took over the state of another object's: True without text, otherwise with it."""
    match source.status:
        case "True":
            return true(conditions, status, kind, now)
        case "False":
            return false(conditions, status, kind, source.reason, source.message, now)
        case "Unknown":
            return unknown(conditions, status, kind, source.reason, source.message, now)


def not_owned(kind: str, name: str) -> str:
    """The message about an object that is in the way."""
    return f'There is an existing {kind} "{name}" that we do not own.'
