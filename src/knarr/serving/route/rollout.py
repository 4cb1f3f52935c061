"""Gradual rollout: how a new latest revision takes over in steps; pure.

The state is kept as JSON in an annotation of the Ingress, in Knative's format
(``pkg/reconciler/route/traffic/rollout.go``), so that a restart goes on where it was. Times in it are
Unix nanoseconds. A rollout begins with one percent; when the gateways have acknowledged that, the pace is
derived from how long it took, and every step moves an equal share from the newest old revision backwards.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from knarr.meta.objects import Struct
from knarr.serving.route.traffic import DEFAULT_TAG, RevisionTarget

_SECOND_NS = 1_000_000_000


class RevisionShare(Struct, frozen=True, kw_only=True):
    """A Revision's share of all requests of the Route, in percent."""

    revision_name: str
    percent: int = 0


class StepParams(Struct, frozen=True, kw_only=True):
    """Pace of a rollout; all 0 while none is under way."""

    start_time: int = msgspec.field(default=0, name="starttime")
    next_step_time: int = 0
    step_duration: int = 0
    step_size: int = 0


class ConfigurationRollout(Struct, frozen=True, kw_only=True):
    """One Configuration under one tag; revisions from the oldest to the newest."""

    configuration_name: str
    tag: str = ""
    percent: int = 0
    revisions: tuple[RevisionShare, ...] = ()
    step_params: StepParams = StepParams()

    @property
    def done(self) -> bool:
        """Whether at most one revision is left."""
        return len(self.revisions) < 2


class Rollout(Struct, frozen=True, kw_only=True):
    """All Configurations of a Route that are followed to their latest revision."""

    configurations: tuple[ConfigurationRollout, ...] = ()

    @property
    def done(self) -> bool:
        """Whether nothing is under way."""
        return all(item.done for item in self.configurations)

    def find(self, tag: str, configuration: str) -> ConfigurationRollout | None:
        """The state of one Configuration under one tag."""
        return next(
            (
                item
                for item in self.configurations
                if (item.tag, item.configuration_name) == (tag, configuration)
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """The state after a step and when the next is due (Unix nanoseconds), 0 for never."""

    rollout: Rollout
    next_ns: int


def build_rollout(targets: Mapping[str, tuple[RevisionTarget, ...]]) -> Rollout:
    """The state in which every Configuration has arrived at its latest revision."""
    found = [
        ConfigurationRollout(
            configuration_name=target.configuration,
            tag=tag,
            percent=target.percent,
            revisions=(RevisionShare(revision_name=target.revision, percent=target.percent),),
        )
        for tag, group in targets.items()
        for target in group
        if target.latest and target.percent > 0
    ]
    return _sorted(found)


def _sorted(found: list[ConfigurationRollout]) -> Rollout:
    return Rollout(
        configurations=tuple(sorted(found, key=lambda item: (item.tag, item.configuration_name)))
    )


def format_rollout(rollout: Rollout) -> str:
    """The annotation's text."""
    document = {
        "configurations": [
            {
                **msgspec.to_builtins(item),
                "percent": item.percent,
                "stepParams": msgspec.to_builtins(item.step_params),
            }
            for item in rollout.configurations
        ]
    }
    return msgspec.json.encode(document if rollout.configurations else {}).decode()


def parse_rollout(text: str) -> Rollout | None:
    """The annotation's content; None when it is absent, damaged or contradicts itself."""
    try:
        found = msgspec.json.decode(text, type=Rollout) if text else None
    except msgspec.DecodeError:
        return None
    if found is None or not all(map(_is_consistent, found.configurations)):
        return None
    return found


def _is_consistent(item: ConfigurationRollout) -> bool:
    return (
        item.percent <= 100
        and 0 <= item.step_params.step_size <= item.percent
        and sum(share.percent for share in item.revisions) == item.percent
    )


def observe_ready(rollout: Rollout, now_ns: int, duration_s: float) -> Rollout:
    """The gateways serve the first percent: derive the pace of what has just begun."""
    return Rollout(
        configurations=tuple(
            _paced(item, now_ns, duration_s)
            if item.step_params.start_time > 0 and item.step_params.step_duration == 0
            else item
            for item in rollout.configurations
        )
    )


def _paced(item: ConfigurationRollout, now_ns: int, duration_s: float) -> ConfigurationRollout:
    took_s = (now_ns - item.step_params.start_time) / _SECOND_NS
    least_s = max(1.0, float(math.ceil(took_s)))
    left_s = max(1.0, duration_s - least_s)
    remaining = item.percent - 1
    steps = min(max(1.0, left_s / least_s), float(remaining))
    step_ns = int(left_s / steps * _SECOND_NS)
    params = StepParams(
        start_time=item.step_params.start_time,
        step_duration=step_ns,
        # Go rounds halves away from zero.
        step_size=math.floor(remaining / steps + 0.5),
        next_step_time=now_ns + step_ns,
    )
    return msgspec.structs.replace(item, step_params=params)


def step_rollout(goal: Rollout, before: Rollout | None, now_ns: int) -> Step:
    """Move from the stored state towards the goal as far as is due.

    Args:
        goal: what ``build_rollout`` made of the targets.
        before: the stored state, or None.
        now_ns: Unix nanoseconds.
    """
    if before is None or not before.configurations:
        return Step(goal, 0)
    known_tags = {item.tag for item in before.configurations}
    result: list[ConfigurationRollout] = []
    due: list[int] = []
    for item in goal.configurations:
        old = before.find(item.tag, item.configuration_name)
        if old is None or item.tag not in known_tags or item.percent <= 1:
            result.append(item)
            continue
        stepped = _stepped(item, old, now_ns)
        result.append(stepped)
        if stepped.step_params.next_step_time > 0:
            due.append(stepped.step_params.next_step_time)
    return Step(_sorted(result), min(due, default=0))


def _stepped(
    goal: ConfigurationRollout, before: ConfigurationRollout, now_ns: int
) -> ConfigurationRollout:
    old = _adjusted(goal.percent, before)
    newest = goal.revisions[0].revision_name
    if not before.revisions or newest == before.revisions[-1].revision_name:
        if len(old) < 2:
            return goal
        kept = msgspec.structs.replace(goal, revisions=old, step_params=before.step_params)
        due = kept.step_params.step_size > 0 and now_ns >= kept.step_params.next_step_time
        return _advanced(kept, now_ns) if due else kept
    return msgspec.structs.replace(
        goal,
        revisions=(*_reduced(old), RevisionShare(revision_name=newest, percent=1)),
        step_params=StepParams(start_time=now_ns),
    )


def _reduced(shares: tuple[RevisionShare, ...]) -> tuple[RevisionShare, ...]:
    """One percent less, taken from the newest revision that has any."""
    result = list(shares)
    for index in range(len(result) - 1, -1, -1):
        if result[index].percent > 0:
            share = result[index]
            result[index] = msgspec.structs.replace(share, percent=share.percent - 1)
            break
    return tuple(share for share in result if share.percent > 0)


def _adjusted(goal: int, before: ConfigurationRollout) -> tuple[RevisionShare, ...]:
    """The old shares under a changed total: more goes to the newest, less is taken from the oldest."""
    shares = list(before.revisions)
    change = goal - before.percent
    if not shares or change == 0:
        return tuple(shares)
    if change > 0:
        newest = shares[-1]
        shares[-1] = msgspec.structs.replace(newest, percent=newest.percent + change)
        return tuple(shares)
    missing = -change
    while shares and missing > 0:
        oldest = shares[0]
        if oldest.percent > missing:
            shares[0] = msgspec.structs.replace(oldest, percent=oldest.percent - missing)
            break
        missing -= oldest.percent
        shares.pop(0)
    return tuple(shares)


def _advanced(item: ConfigurationRollout, now_ns: int) -> ConfigurationRollout:
    """One step: the newest gains what the older ones lose, the newest of those first."""
    params = item.step_params
    *older, newest = item.revisions
    missing = params.step_size
    while older and missing > 0:
        last = older[-1]
        if last.percent > missing:
            older[-1] = msgspec.structs.replace(last, percent=last.percent - missing)
            break
        missing -= last.percent
        older.pop()
    rest = sum(share.percent for share in older)
    gained = msgspec.structs.replace(newest, percent=item.percent - rest)
    if not older:
        return msgspec.structs.replace(item, revisions=(gained,), step_params=StepParams())
    following = msgspec.structs.replace(params, next_step_time=now_ns + params.step_duration)
    return msgspec.structs.replace(item, revisions=(*older, gained), step_params=following)


def shares_of(target: RevisionTarget, tag: str, rollout: Rollout) -> tuple[RevisionShare, ...]:
    """The Revisions that answer for a target under a tag's host, with their shares."""
    state = rollout.find(tag, target.configuration) if target.latest else None
    if state is None or state.done:
        return (RevisionShare(revision_name=target.revision, percent=target.percent),)
    return state.revisions


__all__ = [
    "DEFAULT_TAG",
    "ConfigurationRollout",
    "RevisionShare",
    "Rollout",
    "Step",
    "StepParams",
    "build_rollout",
    "format_rollout",
    "observe_ready",
    "parse_rollout",
    "shares_of",
    "step_rollout",
]
