"""The end of a pass: conditions that changed and changed back within it are as they were.

Plans apply the transitions of ``knarr.resources`` one after another; a condition may become Unknown and
True again on the way. ``finish_status`` restores its old transition time, so that a second pass over an
unchanged world writes nothing (Knative's ``groomConditionsTransitionTime``).
"""

from typing import TypeVar

import msgspec

from knarr.meta.conditions import Condition, find_condition
from knarr.resources.knative import Status

S = TypeVar("S", bound=Status)


def finish_status(before: Status | None, after: S, generation: int) -> S:
    """The status to store after a pass that has seen ``generation``."""
    known = before.conditions if before is not None else ()
    conditions = tuple(
        _groomed(find_condition(known, item.type), item) for item in after.conditions
    )
    return msgspec.structs.replace(after, conditions=conditions, observed_generation=generation)


def _groomed(before: Condition | None, after: Condition) -> Condition:
    if before is None:
        return after
    restored = msgspec.structs.replace(after, last_transition_time=before.last_transition_time)
    return before if restored == before else after
