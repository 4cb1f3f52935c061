"""Functions on lists, sets and optional values (cel-go ``ext``, Kubernetes' ``library/lists.go``)."""

import itertools
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any, Final

from knarr.apiserver.cel.library import strings
from knarr.apiserver.cel.library.conversions import Function
from knarr.apiserver.cel.library.operators import OPERATORS
from knarr.apiserver.cel.values import (
    ABSENT,
    Budget,
    EvalError,
    NoOverload,
    Optional,
    compare,
    equal,
    is_zero,
)

_BY_ORDER: Final = cmp_to_key(compare)


def items_of(value: Any, budget: Budget) -> list[Any]:
    """A list, paid for by its length.

    Raises:
        NoOverload: it is something else.
    """
    if not isinstance(value, list):
        raise NoOverload
    budget.spend(len(value))
    return value


def _is_sorted(budget: Budget, value: Any) -> bool:
    items = items_of(value, budget)
    return all(compare(*pair) <= 0 for pair in itertools.pairwise(items))


def _sum(budget: Budget, value: Any) -> Any:
    items = items_of(value, budget)
    if not items:
        return 0
    total = items[0]
    for item in items[1:]:
        total = OPERATORS["_+_"](budget, total, item)
    return total


def _extreme(name: str, sign: int) -> Function:
    def apply(budget: Budget, value: Any) -> Any:
        items = items_of(value, budget)
        if not items:
            raise EvalError(f"{name} called on empty list")
        best = items[0]
        for item in items[1:]:
            if compare(item, best) == sign:
                best = item
        return best

    return apply


def _position(order: Callable[[list[Any]], Any]) -> Callable[[Budget, Any, Any], int]:
    def apply(budget: Budget, value: Any, wanted: Any) -> int:
        items = items_of(value, budget)
        return next((index for index in order(items) if equal(items[index], wanted)), -1)

    return apply


_first_position = _position(lambda items: range(len(items)))
_last_position = _position(lambda items: range(len(items) - 1, -1, -1))


def _index_of(budget: Budget, value: Any, *rest: Any) -> int:
    if isinstance(value, list) and len(rest) == 1:
        return _first_position(budget, value, rest[0])
    return strings.index_of(budget, value, *rest)


def _last_index_of(budget: Budget, value: Any, *rest: Any) -> int:
    if isinstance(value, list) and len(rest) == 1:
        return _last_position(budget, value, rest[0])
    return strings.last_index_of(budget, value, *rest)


def _distinct(budget: Budget, value: Any) -> list[Any]:
    result: list[Any] = []
    for item in items_of(value, budget):
        budget.spend(len(result))
        if not any(equal(item, each) for each in result):
            result.append(item)
    return result


def _flatten(budget: Budget, value: Any, depth: Any = 1) -> list[Any]:
    if strings.number(depth) < 0:
        raise EvalError("level must be non-negative")
    result: list[Any] = []
    for item in items_of(value, budget):
        if isinstance(item, list) and depth > 0:
            inner = _flatten(budget, item, depth - 1) if depth > 1 else items_of(item, budget)
            result += inner
        else:
            result.append(item)
    return result


def _range(budget: Budget, count: Any) -> list[int]:
    budget.spend(max(strings.number(count), 0))
    return list(range(count))


def _slice(budget: Budget, value: Any, start: Any, end: Any) -> list[Any]:
    items = items_of(value, budget)
    first, last = strings.number(start), strings.number(end)
    if first < 0 or last < 0:
        raise EvalError(f"cannot slice({first}, {last}), negative indexes not supported")
    if first > last:
        raise EvalError(
            f"cannot slice({first}, {last}), start index must be less than or equal to end index"
        )
    if last > len(items):
        raise EvalError(f"cannot slice({first}, {last}), list is length {len(items)}")
    return items[first:last]


def sorted_by(budget: Budget, items: list[Any], keys: list[Any]) -> list[Any]:
    """Items in the order of their keys."""
    budget.spend(len(items) * max(1, len(items).bit_length()))
    pairs = sorted(zip(keys, items, strict=True), key=lambda pair: _BY_ORDER(pair[0]))
    return [item for _, item in pairs]


def _sort(budget: Budget, value: Any) -> list[Any]:
    items = items_of(value, budget)
    return sorted_by(budget, items, items)


def _edge(index: int) -> Function:
    def apply(_: Budget, value: Any) -> Optional:
        if not isinstance(value, list):
            raise NoOverload
        return Optional(present=True, value=value[index]) if value else ABSENT

    return apply


def _contained(budget: Budget, outer: Any, inner: Any) -> bool:
    mine, theirs = items_of(outer, budget), items_of(inner, budget)
    budget.spend(len(mine) * len(theirs))
    return all(any(equal(each, item) for each in mine) for item in theirs)


def _intersects(budget: Budget, left: Any, right: Any) -> bool:
    mine, theirs = items_of(left, budget), items_of(right, budget)
    budget.spend(len(mine) * len(theirs))
    return any(equal(each, item) for each in mine for item in theirs)


def _value(_: Budget, optional: Any) -> Any:
    if not isinstance(optional, Optional):
        raise NoOverload
    if not optional.present:
        raise EvalError("optional.none() dereference")
    return optional.value


def _has_value(_: Budget, optional: Any) -> bool:
    if not isinstance(optional, Optional):
        raise NoOverload
    return optional.present


def _unwrap(budget: Budget, value: Any) -> list[Any]:
    items = items_of(value, budget)
    if not all(isinstance(item, Optional) for item in items):
        raise NoOverload
    return [item.value for item in items if item.present]


LISTS: Final[dict[str, Function]] = {
    "isSorted": _is_sorted,
    "sum": _sum,
    "min": _extreme("min", -1),
    "max": _extreme("max", 1),
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "distinct": _distinct,
    "flatten": _flatten,
    "lists.range": _range,
    "slice": _slice,
    "sort": _sort,
    "reverse": lambda budget, value: items_of(value, budget)[::-1],
    "first": _edge(0),
    "last": _edge(-1),
    "sets.contains": _contained,
    "sets.equivalent": lambda budget, a, b: _contained(budget, a, b) and _contained(budget, b, a),
    "sets.intersects": _intersects,
    "optional.none": lambda _: ABSENT,
    "optional.of": lambda _, value: Optional(present=True, value=value),
    "optional.ofNonZeroValue": lambda _, value: (
        ABSENT if is_zero(value) else Optional(present=True, value=value)
    ),
    "optional.unwrap": _unwrap,
    "unwrapOpt": _unwrap,
    "value": _value,
    "hasValue": _has_value,
}
