r"""JSONPath as printer columns use it: ``k8s.io/client-go/util/jsonpath`` without templates.

Fields (``.a``, ``['a']``, ``.a\.b``, ``['a\.b']``), indices and slices (``[0]``, ``[-1]``,
``[1:3:2]``), ``[*]`` and ``.*``, recursive descent (``..a``), unions (``['a','b']``) and filters
(``[?(@.type=="Ready")]``). Missing fields are no error; an index beyond a list or a filter on something
else is one.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from knarr.apiserver.structural.validation import equal

_MAX_LENGTH: Final = 4_096
_MAX_RESULTS: Final = 10_000
_INDEX: Final = re.compile(r"(-?\d+)?(?::(-?\d+)?)?(?::(-?\d+)?)?")
_KEY: Final = re.compile(r"'([^']*)'")
_COMPARISON: Final = re.compile(r"([^!<>=]+)([!<>=]+)(.+)", re.DOTALL)
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?")


class BadPath(ValueError):
    """A text that is no JSONPath of this kind."""


class PathFailure(ValueError):
    """A path that cannot be followed in a document."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field, ``*`` for all."""

    name: str


@dataclass(frozen=True, slots=True)
class Slice:
    """Items by position; ``single`` for one."""

    start: int | None
    stop: int | None
    step: int | None
    single: bool


@dataclass(frozen=True, slots=True)
class Descent:
    """Everything below, at any depth."""


@dataclass(frozen=True, slots=True)
class Union:
    """What several paths select, in their order."""

    paths: "tuple[Path, ...]"


@dataclass(frozen=True, slots=True)
class Filter:
    """Items for which a comparison holds; without an operator, for which the left side is there."""

    left: "Path"
    operator: str
    right: "Path | Literal | None"


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant of a comparison."""

    value: Any


Step = Field | Slice | Descent | Union | Filter
Path = tuple[Step, ...]


def parse_path(text: str) -> Path:
    """The steps of a path such as ``.status.conditions[?(@.type=="Ready")].status``.

    Raises:
        BadPath: malformed.
    """
    if len(text) > _MAX_LENGTH:
        raise BadPath(f"longer than {_MAX_LENGTH} characters")
    return tuple(_Parser(text).steps())


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def steps(self) -> Iterator[Step]:
        while self._at < len(self._text):
            rest = self._text[self._at :]
            if rest[0] in " @$":
                self._at += 1
            elif rest.startswith("[?("):
                yield self._filter()
            elif rest[0] == "[":
                yield from self._bracket()
            elif rest.startswith(".."):
                yield from self._descent()
            elif rest[0] == ".":
                self._at += 1
                yield Field(self._name())
            else:
                raise BadPath(f"unrecognized character {rest[0]!r} at {self._at}")

    def _descent(self) -> Iterator[Step]:
        self._at += 2
        if self._text.startswith("..", self._at):
            raise BadPath("invalid multiple recursive descent")
        yield Descent()
        if self._at < len(self._text) and self._text[self._at] not in ".[":
            yield Field(self._name())

    def _name(self) -> str:
        name = ""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "\\" and self._at + 1 < len(self._text):
                name += self._text[self._at + 1]
                self._at += 2
                continue
            if char in " \t\r\n.,[]$@{}":
                break
            name += char
            self._at += 1
        return name

    def _bracket(self) -> Iterator[Step]:
        content = self._until("]")
        parts = _split(content)
        if len(parts) > 1:
            yield Union(tuple(_selector(part.strip()) for part in parts))
        else:
            yield from _selector(content)

    def _until(self, end: str) -> str:
        """The text after the opening bracket, up to one that closes it outside quotes."""
        start = self._at + 1
        quote = ""
        for index in range(start, len(self._text)):
            char = self._text[index]
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == end:
                self._at = index + 1
                return self._text[start:index]
        raise BadPath("unterminated array")

    def _filter(self) -> Filter:
        start = self._at + 3
        quote = ""
        for index in range(start, len(self._text)):
            char = self._text[index]
            if quote:
                if char == quote and self._text[index - 1] != "\\":
                    quote = ""
            elif char in "'\"":
                quote = char
            elif char == ")":
                if not self._text.startswith("]", index + 1):
                    raise BadPath("unclosed array expect ]")
                self._at = index + 2
                return _comparison(self._text[start:index])
        raise BadPath("unterminated filter")


def _split(content: str) -> list[str]:
    parts, quote, current = [], "", ""
    for char in content:
        if char == "," and not quote:
            parts.append(current)
            current = ""
            continue
        if char in "'\"":
            quote = "" if quote == char else quote or char
        current += char
    return [*parts, current]


def _selector(text: str) -> Path:
    if text in ("*", ":"):
        return (Slice(None, None, None, single=False),)
    found = _KEY.fullmatch(text)
    if found is not None:
        # what stands in quotes is read as a path again: dots of a name take a backslash there too
        return parse_path(f".{found[1]}")
    index = _INDEX.fullmatch(text)
    if index is None or not text:
        raise BadPath(f"invalid array index {text}")
    start, stop, step = (int(part) if part else None for part in index.groups())
    return (Slice(start, stop, step, single=":" not in text),)


def _comparison(text: str) -> Filter:
    found = _COMPARISON.fullmatch(text)
    if found is None:
        return Filter(parse_path(text.strip()), "", None)
    left, operator, right = (part.strip() for part in found.groups())
    if operator not in ("==", "!=", "<", ">", "<=", ">="):
        raise BadPath(f"unrecognized filter operator {operator}")
    return Filter(parse_path(left), operator, _operand(right))


def _operand(text: str) -> Path | Literal:
    if len(text) > 1 and text[0] in "'\"":
        if text[-1] != text[0]:
            raise BadPath(f"unterminated quoted string {text}")
        return Literal(re.sub(r"\\(.)", r"\1", text[1:-1]))
    if text in ("true", "false"):
        return Literal(text == "true")
    if _NUMBER.fullmatch(text):
        return Literal(float(text) if "." in text else int(text))
    return parse_path(text)


# Following a path


def find(document: Any, path: Path) -> list[Any]:
    """What a path selects, in document order; empty when something on the way is missing.

    Raises:
        PathFailure: an index is out of range, a filter meets no list, or there are too many results.
    """
    values = [document]
    for step in path:
        values = [found for value in values for found in _follow(value, step)]
        if len(values) > _MAX_RESULTS:
            raise PathFailure(f"more than {_MAX_RESULTS} results")
    return values


def _follow(value: Any, step: Step) -> list[Any]:
    match step:
        case Field("*"):
            return _children(value)
        case Field(name):
            return [value[name]] if isinstance(value, dict) and name in value else []
        case Slice():
            return _slice(value, step)
        case Descent():
            return list(_descend(value))
        case Union(paths):
            return [found for path in paths for found in find(value, path)]
        case Filter():
            return _filtered(value, step)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _descend(value: Any) -> Iterator[Any]:
    inner = _children(value)
    if inner:
        yield value
        for item in inner:
            yield from _descend(item)


def _slice(value: Any, step: Slice) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise PathFailure(f"{type(value).__name__} is not array or slice")
    size = len(value)
    start = step.start or 0
    start = start + size if start < 0 else start
    if step.single and step.start is not None:
        if not 0 <= start < size:
            raise PathFailure(f"array index out of bounds: index {start}, length {size}")
        return [value[start]]
    stop = size if step.stop is None else step.stop
    stop = stop + size if stop < 0 else stop
    if start == stop:
        return []
    if not 0 <= start < size or not 0 <= stop <= size or start > stop:
        raise PathFailure(f"array index out of bounds: {start} to {stop}, length {size}")
    if step.step is not None and step.step <= 0:
        raise PathFailure("step must be > 0")
    return value[start : stop : step.step or 1]


def _filtered(value: Any, step: Filter) -> list[Any]:
    if not isinstance(value, list):
        raise PathFailure("not array or slice and cannot be filtered")
    return [item for item in value if _holds(item, step)]


def _holds(item: Any, step: Filter) -> bool:
    lefts = find(item, step.left)
    if step.right is None:
        return bool(lefts)
    rights = [step.right.value] if isinstance(step.right, Literal) else find(item, step.right)
    if not lefts or not rights:
        return False
    if len(lefts) > 1 or len(rights) > 1:
        raise PathFailure("can only compare one element at a time")
    return _compare(lefts[0], step.operator, rights[0])


_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lambda left, right: bool(left < right),
    ">": lambda left, right: bool(left > right),
    "<=": lambda left, right: bool(left <= right),
    ">=": lambda left, right: bool(left >= right),
}


def _compare(left: Any, operator: str, right: Any) -> bool:
    kinds = {_kind(left), _kind(right)}
    if len(kinds) > 1:
        raise PathFailure("incompatible types for comparison")
    if operator in ("==", "!="):
        return equal(left, right) == (operator == "==")
    if kinds & {"bool", "other"}:
        raise PathFailure("invalid type for comparison")
    return _ORDERINGS[operator](left, right)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"
