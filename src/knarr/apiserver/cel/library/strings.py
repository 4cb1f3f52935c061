"""Functions on strings (cel-go ``ext/strings.go``, Kubernetes' ``library/regex.go``)."""

from typing import Any, Final

from knarr.apiserver.cel.library.conversions import Function
from knarr.apiserver.cel.patterns import find, find_all, search
from knarr.apiserver.cel.values import Budget, EvalError, NoOverload, int_of

_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER: Final = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_QUOTED: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def text(value: Any) -> str:
    """A string.

    Raises:
        NoOverload: it is something else.
    """
    if not isinstance(value, str):
        raise NoOverload
    return value


def number(value: Any) -> int:
    """An int.

    Raises:
        NoOverload: it is something else.
    """
    if type(value) is not int:
        raise NoOverload
    return value


def _matches(budget: Budget, value: Any, pattern: Any) -> bool:
    return search(text(value), text(pattern), budget)


def _find(budget: Budget, value: Any, pattern: Any) -> str:
    return find(text(value), text(pattern), budget)


def _find_all(budget: Budget, value: Any, pattern: Any, limit: Any = -1) -> list[str]:
    return find_all(text(value), text(pattern), number(limit), budget)


def _contains(budget: Budget, value: Any, part: Any) -> bool:
    budget.spend(len(text(value)) // 10)
    return text(part) in value


def _char_at(_: Budget, value: Any, at: Any) -> str:
    length, index = len(text(value)), number(at)
    if not 0 <= index <= length:
        raise EvalError(f"index out of range: {index}")
    return value[index : index + 1]  # type: ignore[no-any-return]  # checked to be a string


def index_of(budget: Budget, value: Any, part: Any, start: Any = 0) -> int:
    """Where a text first occurs, -1 for nowhere."""
    budget.spend(len(text(value)) // 10)
    if not text(part):
        return number(start)
    if number(start) < 0:
        raise EvalError(f"index out of range: {start}")
    return value.find(part, start)  # type: ignore[no-any-return]  # checked to be a string


def last_index_of(budget: Budget, value: Any, part: Any, start: Any = None) -> int:
    """Where a text last occurs, at or before ``start``."""
    budget.spend(len(text(value)) // 10)
    if not text(part):
        return len(value) if start is None else number(start)
    if start is None:
        return value.rfind(part)  # type: ignore[no-any-return]  # checked to be a string
    if number(start) < 0:
        raise EvalError(f"index out of range: {start}")
    return value.rfind(part, 0, start + len(part))  # type: ignore[no-any-return]  # a string


def _join(budget: Budget, items: Any, separator: Any = "") -> str:
    if not isinstance(items, list):
        raise NoOverload
    total = sum(len(text(item)) for item in items) + len(text(separator)) * len(items)
    budget.spend(len(items) + total // 10)
    return separator.join(items)  # type: ignore[no-any-return]  # checked to be a string


def _replace(budget: Budget, value: Any, old: Any, new: Any, limit: Any = -1) -> str:
    count = text(value).count(text(old))
    if number(limit) >= 0:
        count = min(count, limit)
    budget.spend((len(value) + count * max(0, len(text(new)) - len(old))) // 10)
    return value.replace(old, new, max(limit, -1))  # type: ignore[no-any-return]  # a string


def _split(budget: Budget, value: Any, separator: Any, limit: Any = -1) -> list[str]:
    budget.spend(len(text(value)) // 10)
    wanted = number(limit)
    if wanted == 0:
        return []
    if wanted == 1:
        return [value]
    if text(separator):
        parts = value.split(separator, wanted - 1 if wanted > 0 else -1)
    elif 0 < wanted < len(value):
        parts = [*value[: wanted - 1], value[wanted - 1 :]]
    else:
        parts = list(value)
    budget.spend(len(parts))
    return parts  # type: ignore[no-any-return]  # parts of a string


def _substring(budget: Budget, value: Any, start: Any, end: Any = None) -> str:
    length, first = len(text(value)), number(start)
    last = length if end is None else number(end)
    budget.spend(length // 10)
    if end is not None and first > last:
        raise EvalError(f"invalid substring range. start: {first}, end: {last}")
    for each in (first, last):
        if not 0 <= each <= length:
            raise EvalError(f"index out of range: {each}")
    return value[first:last]  # type: ignore[no-any-return]  # checked to be a string


def _quote(budget: Budget, value: Any) -> str:
    budget.spend(len(text(value)) // 10)
    return '"' + "".join(_QUOTED.get(char, char) for char in value) + '"'


def _mapped(table: dict[int, int]) -> Function:
    def apply(budget: Budget, value: Any) -> str:
        budget.spend(len(text(value)) // 10)
        return value.translate(table)  # type: ignore[no-any-return]  # checked to be a string

    return apply


def _trim(budget: Budget, value: Any) -> str:
    budget.spend(len(text(value)) // 10)
    return value.strip()  # type: ignore[no-any-return]  # checked to be a string


STRINGS: Final[dict[str, Function]] = {
    "matches": _matches,
    "find": _find,
    "findAll": _find_all,
    "contains": _contains,
    "startsWith": lambda _, value, part: text(value).startswith(text(part)),
    "endsWith": lambda _, value, part: text(value).endswith(text(part)),
    "charAt": _char_at,
    "join": _join,
    "lowerAscii": _mapped(_LOWER),
    "upperAscii": _mapped(_UPPER),
    "replace": _replace,
    "split": _split,
    "strings.quote": _quote,
    "substring": _substring,
    "trim": _trim,
}

__all__ = ["STRINGS", "index_of", "int_of", "last_index_of", "number", "text"]
