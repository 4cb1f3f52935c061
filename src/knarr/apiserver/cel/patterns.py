"""Regular expressions of rules: RE2 itself, which takes time in proportion to the text."""

from functools import lru_cache
from typing import Any, Final

from knarr.apiserver.cel.values import Budget, EvalError

PATTERN_FUNCTIONS: Final = frozenset({"matches", "find", "findAll"})
_MAX_MEMORY: Final = 1 << 20
_CACHED: Final = 256
_STEPS_PER_CHARACTER: Final = 0.1


@lru_cache(_CACHED)
def _compiled(pattern: str) -> Any:
    # imported here: few servers have rules, and fewer have patterns in them
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else b""
        shown = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        return _Malformed(f"error parsing regexp: {shown}")


class _Malformed(str):
    __slots__ = ()


def pattern_problem(pattern: str) -> str:
    """Why a text is no pattern; empty when it is one."""
    found = _compiled(pattern)
    return str(found) if isinstance(found, _Malformed) else ""


def _use(pattern: str, text: str, budget: Budget) -> Any:
    budget.spend(1 + int((1 + len(text) * _STEPS_PER_CHARACTER) * (1 + len(pattern) / 4)))
    found = _compiled(pattern)
    if isinstance(found, _Malformed):
        raise EvalError(str(found))
    return found


def search(text: str, pattern: str, budget: Budget) -> bool:
    """Whether a pattern occurs in a text."""
    return _use(pattern, text, budget).search(text) is not None


def find(text: str, pattern: str, budget: Budget) -> str:
    """The first occurrence, or nothing."""
    found = _use(pattern, text, budget).search(text)
    return "" if found is None else str(found.group())


def find_all(text: str, pattern: str, limit: int, budget: Budget) -> list[str]:
    """Occurrences that do not overlap; a negative limit is none."""
    result: list[str] = []
    end = -1
    for found in _use(pattern, text, budget).finditer(text):
        if 0 <= limit <= len(result):
            break
        if found.start() == found.end() == end:
            # Go leaves out nothing right after something
            continue
        end = found.end()
        budget.spend(1)
        result.append(str(found.group()))
    return result
