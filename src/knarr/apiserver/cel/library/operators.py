"""Operators and conversions (cel-go ``common/stdlib``)."""

import math
import operator
from collections.abc import Callable
from typing import Any, Final

from knarr.apiserver.cel.library.conversions import CONVERSIONS, Function
from knarr.apiserver.cel.numbers import float_text
from knarr.apiserver.cel.times import (
    duration_of,
    timestamp_of,
)
from knarr.apiserver.cel.values import (
    ABSENT,
    MIN_INT,
    Budget,
    Duration,
    EvalError,
    Items,
    NoOverload,
    Optional,
    Timestamp,
    TypeValue,
    Uint,
    checked,
    compare,
    equal,
    find_key,
    int_of,
    is_number,
    type_name,
    uint_of,
)


def _numbers(left: Any, right: Any) -> Callable[[Any], Any]:
    """What makes a result out of two operands of one type of numbers."""
    kind = type(left)
    if kind is not type(right) or not is_number(left):
        raise NoOverload
    if kind is float:
        return float
    return uint_of if kind is Uint else int_of


def _equal(budget: Budget, left: Any, right: Any) -> bool:
    budget.spend(_weight(left))
    return equal(left, right)


def _weight(value: Any) -> int:
    """About how long it takes to look at all of a value."""
    if isinstance(value, str | bytes):
        return len(value) // 10
    if isinstance(value, dict):
        return 1 + sum(map(_weight, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_weight, value))
    return 0


def _add(budget: Budget, left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int:
        return int_of(left + right)
    if isinstance(left, list):
        if not isinstance(right, list):
            raise NoOverload
        budget.spend(len(left) + len(right))
        return _joined(left, right)
    if isinstance(left, str | bytes):
        if type(left) is not type(right):
            raise NoOverload
        budget.spend((len(left) + len(right)) // 10)
        return left + right  # type: ignore[operator]  # both str or both bytes
    if isinstance(left, Duration) and isinstance(right, Timestamp):
        left, right = right, left
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return timestamp_of(left.ns + right.ns)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return duration_of(left.ns + right.ns)
    return _numbers(left, right)(left + right)


def _joined(left: list[Any], right: list[Any]) -> list[Any]:
    if not isinstance(left, Items):
        return [*left, *right]
    result = Items(left, left.keys)
    places = {left.key_of(item): index for index, item in enumerate(left)}
    for item in right:
        key = left.key_of(item)
        if key not in places:
            places[key] = len(result)
            result.append(item)
        elif left.keys:
            result[places[key]] = item
    return result


def _subtract(_: Budget, left: Any, right: Any) -> Any:
    if isinstance(left, Timestamp):
        if isinstance(right, Timestamp):
            return duration_of(left.ns - right.ns)
        if isinstance(right, Duration):
            return timestamp_of(left.ns - right.ns)
        raise NoOverload
    if isinstance(left, Duration) and isinstance(right, Duration):
        return duration_of(left.ns - right.ns)
    return _numbers(left, right)(left - right)


def _multiply(_: Budget, left: Any, right: Any) -> Any:
    make = _numbers(left, right)
    return make(left * right)


def _divide(_: Budget, left: Any, right: Any) -> Any:
    make = _numbers(left, right)
    if make is float:
        return _divided(left, right)
    if right == 0:
        raise EvalError("division by zero")
    return make(_truncated(left, right))


def _divided(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def _truncated(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return -quotient if (left < 0) != (right < 0) else quotient


def _modulo(_: Budget, left: Any, right: Any) -> Any:
    make = _numbers(left, right)
    if make is float:
        raise NoOverload
    if right == 0:
        raise EvalError("modulus by zero")
    if left == MIN_INT and right == -1:
        raise EvalError("integer overflow")
    return make(left - right * _truncated(left, right))


def _negate(_: Budget, value: Any) -> Any:
    if type(value) is float:
        return -value
    if type(value) is int:
        return int_of(-value)
    raise NoOverload


def _not(_: Budget, value: Any) -> bool:
    if not isinstance(value, bool):
        raise NoOverload
    return not value


def _in(budget: Budget, value: Any, container: Any) -> bool:
    if isinstance(container, dict):
        return find_key(container, value)[0]
    if not isinstance(container, list):
        raise NoOverload
    budget.spend(len(container))
    return any(equal(each, value) for each in container)


def whole(value: Any) -> int:
    """An index: an int, or another number without a fraction.

    Raises:
        NoOverload: it is none.
    """
    if not is_number(value) or (isinstance(value, float) and not value.is_integer()):
        raise NoOverload
    return int(value)


def _index(_: Budget, container: Any, key: Any) -> Any:
    if isinstance(container, Optional):
        return _index_optional(_, container, key)
    if isinstance(container, dict):
        present, value = find_key(container, key)
        if not present:
            raise EvalError(f"no such key: {key_text(key)}")
        return checked(value)
    if not isinstance(container, list):
        raise NoOverload
    at = whole(key)
    if not 0 <= at < len(container):
        raise EvalError(f"index out of bounds: {at}")
    return checked(container[at])


def key_text(key: Any) -> str:
    """A key as errors show it."""
    if isinstance(key, bool):
        return "true" if key else "false"
    return float_text(key) if isinstance(key, float) else str(key)


def _index_optional(_: Budget, container: Any, key: Any) -> Optional:
    if isinstance(container, Optional):
        if not container.present:
            return ABSENT
        container = container.value
    if isinstance(container, dict):
        present, value = find_key(container, key)
        return Optional(present=True, value=checked(value)) if present else ABSENT
    if not isinstance(container, list):
        raise NoOverload
    at = whole(key)
    if not 0 <= at < len(container):
        return ABSENT
    return Optional(present=True, value=checked(container[at]))


def _comparison(test: Callable[[Any, Any], bool]) -> Function:
    def apply(_: Budget, left: Any, right: Any) -> bool:
        if type(left) is int and type(right) is int:
            return test(left, right)
        if isinstance(left, float) and math.isnan(left):
            return False
        if isinstance(right, float) and math.isnan(right):
            return False
        return test(compare(left, right), 0)

    return apply


def _size(_: Budget, value: Any) -> int:
    if not isinstance(value, str | bytes | list | dict):
        raise NoOverload
    extra = len(getattr(value, "unknown", ()))
    return len(value) + extra


OPERATORS: Final[dict[str, Function]] = {
    **CONVERSIONS,
    "_==_": _equal,
    "_!=_": lambda budget, left, right: not _equal(budget, left, right),
    "_+_": _add,
    "_-_": _subtract,
    "_*_": _multiply,
    "_/_": _divide,
    "_%_": _modulo,
    "-_": _negate,
    "!_": _not,
    "@in": _in,
    "_[_]": _index,
    "_[?_]": _index_optional,
    "_<_": _comparison(operator.lt),
    "_<=_": _comparison(operator.le),
    "_>_": _comparison(operator.gt),
    "_>=_": _comparison(operator.ge),
    "size": _size,
    "dyn": lambda _, value: value,
    "type": lambda _, value: TypeValue(type_name(value)),
}
