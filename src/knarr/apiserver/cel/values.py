"""Values of expressions, their types, equality and order.

int, float, str, bytes, bool and None stand for themselves; lists are ``list``, maps are ``dict``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

MAX_INT: Final = (1 << 63) - 1
MIN_INT: Final = -(1 << 63)
MAX_UINT: Final = (1 << 64) - 1


class Uint(int):
    """An unsigned number, which is not the same as a signed one."""

    __slots__ = ()


class EvalError(Exception):
    """An expression has no value; ``&&``, ``||`` and loops may do without it."""


class NoOverload(EvalError):
    """An operation on values it is not for; only possible where types are dynamic."""

    def __init__(self) -> None:
        super().__init__("no such overload")


class OutOfBudget(Exception):
    """The evaluation was too expensive."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class Budget:
    """What an evaluation may still cost, in units of about one step each."""

    __slots__ = ("left",)

    def __init__(self, units: int) -> None:
        self.left = units

    def spend(self, units: int) -> None:
        """Take something out.

        Raises:
            OutOfBudget: there is not that much.
        """
        self.left -= units
        if self.left < 0:
            raise OutOfBudget


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970."""

    ns: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, in nanoseconds."""

    ns: int


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value."""

    name: str


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be absent."""

    present: bool
    value: Any = None


ABSENT: Final = Optional(present=False)


class Opaque:
    """A value of a library; ``type_name`` is its type's."""

    __slots__ = ()
    type_name: str = ""


class Items(list[Any]):
    """A list with an order that does not matter: of a set, or of a list keyed by some fields.

    Attributes:
        keys: the names of the fields, empty for a set.
    """

    __slots__ = ("keys",)

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key_of(self, item: Any) -> Any:
        """What tells an item from the others; comparable and hashable."""
        if not self.keys:
            return frozen(item)
        return tuple(
            frozen(item.get(name) if isinstance(item, dict) else None) for name in self.keys
        )


class Object(dict[str, Any]):
    """An object with known fields; entries are under their escaped names.

    Attributes:
        unknown: fields that expressions cannot see but that count when objects are compared.
    """

    __slots__ = ("unknown",)

    def __init__(self, fields: dict[str, Any], unknown: dict[str, Any]) -> None:
        super().__init__(fields)
        self.unknown = unknown


@dataclass(frozen=True, slots=True)
class Broken:
    """Data that does not fit its schema; using it is an error."""

    message: str


def frozen(value: Any) -> Any:
    """A hashable stand-in that is equal for equal values."""
    if isinstance(value, dict):
        return frozenset((key, frozen(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(map(frozen, value))
    return (isinstance(value, bool), value)


def type_name(value: Any) -> str:
    """The name of a value's type."""
    found = _NAMES.get(type(value))
    if found is not None:
        return found
    return value.type_name if isinstance(value, Opaque) else "dyn"


_NAMES: Final[dict[type, str]] = {
    bool: "bool", int: "int", Uint: "uint", float: "double", str: "string", bytes: "bytes",
    type(None): "null_type", list: "list", Items: "list", dict: "map", Object: "map",
    Timestamp: "google.protobuf.Timestamp", Duration: "google.protobuf.Duration",
    TypeValue: "type", Optional: "optional_type",
}  # fmt: skip


_PLAIN: Final = frozenset({str, int, bool, float, bytes})


def is_number(value: Any) -> bool:
    """Whether a value is int, uint or double."""
    return type(value) in (int, float, Uint)


def equal(left: Any, right: Any) -> bool:  # noqa: PLR0911 - kinds of values
    """Whether two values are equal; numbers compare across types, other types never do."""
    if type(left) is type(right) and type(left) in _PLAIN:
        return bool(left == right)
    for each in (left, right):
        if isinstance(each, Broken):
            raise EvalError(each.message)
    if is_number(left):
        return is_number(right) and bool(left == right)
    if isinstance(left, list):
        return isinstance(right, list) and _lists_equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and _maps_equal(left, right)
    if isinstance(left, Optional):
        if not isinstance(right, Optional) or left.present != right.present:
            return False
        return not left.present or equal(left.value, right.value)
    return type(left) is type(right) and bool(left == right)


def _lists_equal(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    if not isinstance(left, Items):
        return all(map(equal, left, right))
    mine = {left.key_of(item): item for item in left}
    for item in right:
        key = left.key_of(item)
        if key not in mine or not equal(mine[key], item):
            return False
    return True


def _maps_equal(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    for key, value in left.items():
        present, other = find_key(right, key)
        if not present or not equal(value, other):
            return False
    if isinstance(left, Object) and isinstance(right, Object):
        return left.unknown == right.unknown
    return True


def find_key(mapping: dict[Any, Any], key: Any) -> tuple[bool, Any]:
    """Whether a map has a key, and its value; true is not 1, but 1.0 is."""
    try:
        if key not in mapping:
            return False, None
    except TypeError:
        raise NoOverload from None
    if isinstance(key, bool) and not any(each is key for each in mapping):
        return False, None
    if key in (0, 1) and not isinstance(key, bool):
        same = [each for each in mapping if each == key and not isinstance(each, bool)]
        return (True, mapping[same[0]]) if same else (False, None)
    return True, mapping[key]


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1.

    Raises:
        NoOverload: the values have no order.
    """
    comparable = (
        (is_number(left) and is_number(right))
        or (type(left) is type(right) and isinstance(left, str | bytes | bool | Timestamp | Duration))
    )  # fmt: skip
    if not comparable:
        raise NoOverload
    if left != left or right != right:  # noqa: PLR0124 - NaN
        raise EvalError("NaN values cannot be ordered")
    return int(left > right) - int(left < right)


def int_of(number: int) -> int:
    """A result as int.

    Raises:
        EvalError: it has more than 64 bits.
    """
    if not MIN_INT <= number <= MAX_INT:
        raise EvalError("integer overflow")
    return number


def uint_of(number: int) -> Uint:
    """A result as uint.

    Raises:
        EvalError: it is negative or has more than 64 bits.
    """
    if not 0 <= number <= MAX_UINT:
        raise EvalError("unsigned integer overflow")
    return Uint(number)


def is_zero(value: Any) -> bool:
    """Whether a value is the zero of its type."""
    if isinstance(value, Timestamp):
        return value.ns == 0
    if isinstance(value, Duration):
        return value.ns == 0
    if isinstance(value, Optional):
        return not value.present
    return value is None or (
        isinstance(value, bool | int | float | str | bytes | list | dict) and not value
    )


def checked(value: Any) -> Any:
    """A value that is used.

    Raises:
        EvalError: it does not fit its schema.
    """
    if isinstance(value, Broken):
        raise EvalError(value.message)
    return value
