"""Path elements of FieldsV1, the steps that lead from a document to one of its parts.

An element is its own canonical text: ``f:<name>`` a field, ``k:<object>`` the item of a keyed list,
``v:<value>`` the item of a set, ``i:<index>`` an item by position. JSON inside is compact, with sorted
names and whole numbers without a fraction, so that equal elements are equal strings. Source of the
format: ``metav1.FieldsV1`` and structured-merge-diff's ``fieldpath``.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_ENCODER = msgspec.json.Encoder(order="sorted")
_RANKS = {"f": 0, "k": 1, "v": 2, "i": 3}


class MergeProblem(ValueError):
    """A document and its schema do not fit.

    Attributes:
        path: where, as ``.spec.ports[port=80]``.
        problem: what is wrong there.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path

    def under(self, element: str) -> "MergeProblem":
        """The same problem seen from the parent."""
        return MergeProblem(self.problem, render_element(element) + self.path)


def canonical_json(value: Any) -> str:
    """JSON text that is equal for equal values."""
    text = _ENCODER.encode(_whole(value)).decode()
    return text if text.isalnum() else text.translate(_ESCAPES)


def _whole(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    if isinstance(value, float) and value.is_integer() and math.fabs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def field_element(name: str) -> str:
    """The element of a field."""
    return f"f:{name}"


def key_element(keys: Mapping[str, Any]) -> str:
    """The element of a keyed list's item."""
    return "k:" + canonical_json(keys)


def value_element(value: Any) -> str:
    """The element of a set's item."""
    return "v:" + canonical_json(value)


def parse_element(text: str) -> str:
    """The canonical form of an element that came from outside.

    Raises:
        ValueError: the text is no element.
    """
    kind, colon, content = text.partition(":")
    if not colon or kind not in _RANKS:
        raise ValueError(f"{text!r} is not a path element")
    if kind == "f":
        return text
    if kind == "i":
        return f"i:{int(content)}"
    try:
        value = msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{text!r} is not a path element: {error}") from None
    if kind == "k" and not isinstance(value, dict):
        raise ValueError(f"{text!r} is not a path element: its key is not an object")
    return f"{kind}:{canonical_json(value)}"


def render_element(element: str) -> str:
    """An element as error messages show it: ``.name``, ``[name="a"]``, ``[=1]``, ``[0]``."""
    kind, _, content = element.partition(":")
    match kind:
        case "f":
            return f".{content}"
        case "k":
            keys = json.loads(content)
            return "[" + ",".join(f"{name}={_render(keys[name])}" for name in sorted(keys)) + "]"
        case "v":
            return f"[={_render(json.loads(content))}]"
        case _:
            return f"[{content}]"


def _render(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def render_path(path: Sequence[str]) -> str:
    """A path as error messages show it."""
    return "".join(render_element(element) for element in path)


def in_order(elements: Collection[str]) -> list[str]:
    """The elements of a node in the order in which a set is encoded."""
    if all(element[0] == "f" for element in elements):
        return sorted(elements)
    return sorted(elements, key=sort_key)


def sort_key(element: str) -> tuple[Any, ...]:
    """The order of elements in an encoded set."""
    kind, _, content = element.partition(":")
    match kind:
        case "f":
            return (0, content)
        case "k":
            keys = msgspec.json.decode(content)
            return (1, tuple((name, _value_key(keys[name])) for name in sorted(keys)))
        case "v":
            return (2, _value_key(msgspec.json.decode(content)))
        case _:
            return (3, int(content))


def _value_key(value: Any) -> tuple[int, Any]:
    match value:
        case bool():
            return (2, value)
        case int() | float():
            return (0, value)
        case str():
            return (1, value)
        case None:
            return (5, 0)
        case _:
            return (3, canonical_json(value))
