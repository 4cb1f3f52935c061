"""Macros: loops over lists and maps.

A loop pays for its body before every round, so that an evaluation ends within its budget whatever the
data are.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from knarr.apiserver.cel.library.lists import sorted_by
from knarr.apiserver.cel.values import (
    ABSENT,
    Broken,
    Budget,
    EvalError,
    NoOverload,
    Optional,
    Uint,
    checked,
)

Frame = list[Any]
Step = Callable[[Frame], Any]
_KEYS: Final = (bool, int, Uint, str)


def check_key(key: Any) -> None:
    """Refuse what cannot be the key of a map.

    Raises:
        EvalError: it is a list, a number with a fraction, …
    """
    if type(key) not in _KEYS:
        raise EvalError("unsupported key type")


def _put(result: dict[Any, Any], key: Any, value: Any) -> None:
    check_key(key)
    if key in result:
        raise EvalError(f"insert failed: key {key} already exists")
    result[key] = value


Rounds = Callable[[Frame], Any]
"""Fills the variables for each round and yields the variable that the result keeps."""


def rounds_of(operand: Step, slots: list[int], cost: int) -> Rounds:
    """A loop.

    Args:
        operand: the list or map.
        slots: of the variables in the frame.
        cost: of one round.
    """
    first, second = slots[0], slots[-1]
    double = len(slots) == 2

    def run(frame: Frame) -> Any:
        container = operand(frame)
        budget: Budget = frame[0]
        if isinstance(container, list):
            pairs: Any = enumerate(container)
        elif isinstance(container, dict):
            pairs = container.items() if double else ((key, key) for key in container)
        else:
            raise NoOverload
        for key, value in pairs:
            budget.spend(cost)
            frame[first] = key
            frame[second] = checked(value) if type(value) is Broken else value
            yield key, value

    return run


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise NoOverload
    return value


def _quantifier(decisive: bool) -> Callable[[Rounds, Step, Step | None], Step]:  # noqa: FBT001 - any, all
    def make(rounds: Rounds, body: Step, _: Step | None) -> Step:
        def apply(frame: Frame) -> bool:
            failure: EvalError | None = None
            for _ in rounds(frame):
                try:
                    if _truth(body(frame)) is decisive:
                        return decisive
                except EvalError as error:
                    failure = failure or error
            if failure is not None:
                raise failure
            return not decisive

        return apply

    return make


def _exists_one(rounds: Rounds, body: Step, _: Step | None) -> Step:
    return lambda frame: sum(_truth(body(frame)) for _ in rounds(frame)) == 1


def _filter(rounds: Rounds, body: Step, _: Step | None) -> Step:
    return lambda frame: [value for _, value in rounds(frame) if _truth(body(frame))]


def _mapping(rounds: Rounds, body: Step, condition: Step | None) -> Step:
    if condition is None:
        return lambda frame: [body(frame) for _ in rounds(frame)]
    test = condition
    return lambda frame: [body(frame) for _ in rounds(frame) if _truth(test(frame))]


def _transform_map(rounds: Rounds, body: Step, condition: Step | None) -> Step:
    def apply(frame: Frame) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, _ in rounds(frame):
            if condition is None or _truth(condition(frame)):
                _put(result, key, body(frame))
        return result

    return apply


def _transform_entries(rounds: Rounds, body: Step, condition: Step | None) -> Step:
    def apply(frame: Frame) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _ in rounds(frame):
            if condition is not None and not _truth(condition(frame)):
                continue
            entries = body(frame)
            if not isinstance(entries, dict):
                raise NoOverload
            for key, value in entries.items():
                _put(result, key, value)
        return result

    return apply


def _sort_by(rounds: Rounds, body: Step, _: Step | None) -> Step:
    def apply(frame: Frame) -> list[Any]:
        items, keys = [], []
        for _, value in rounds(frame):
            items.append(value)
            keys.append(body(frame))
        return sorted_by(frame[0], items, keys)

    return apply


def optional_map(operand: Step, body: Step, slot: int, *, flat: bool) -> Step:
    """``optMap``, or ``optFlatMap`` when the body is optional itself."""

    def apply(frame: Frame) -> Any:
        value = operand(frame)
        if not isinstance(value, Optional):
            raise NoOverload
        if not value.present:
            return ABSENT
        frame[slot] = value.value
        result = body(frame)
        return result if flat else Optional(present=True, value=result)

    return apply


LOOPS: Final[Mapping[str, Callable[[Rounds, Step, Step | None], Step]]] = {
    "all": _quantifier(decisive=False),
    "exists": _quantifier(decisive=True),
    "existsOne": _exists_one,
    "filter": _filter,
    "map": _mapping,
    "transformList": _mapping,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_entries,
    "sortBy": _sort_by,
}
