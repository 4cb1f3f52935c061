"""Types of expressions and how they fit together (cel-go ``checker/types.go``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Type:
    """A type.

    Attributes:
        name: ``int``, ``list``, ``kubernetes.URL``, …; of an object the name that errors show.
        params: of ``list``, ``map``, ``type`` and ``optional_type``.
        variable: a type that is found out (``params`` is empty).
        fields: of an object, by escaped name.
    """

    name: str
    params: "tuple[Type, ...]" = ()
    variable: bool = False
    fields: "Mapping[str, Type] | None" = field(default=None, compare=False)

    def __str__(self) -> str:
        if not self.params:
            return _SHOWN.get(self.name, self.name)
        return f"{self.name}({', '.join(map(str, self.params))})"


_SHOWN: Final = {"google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration",
                 "null_type": "null"}  # fmt: skip
_DURATION: Final = "google.protobuf.Duration"
_TIMESTAMP: Final = "google.protobuf.Timestamp"

DYN: Final = Type("dyn")
ERROR: Final = Type("!error!")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
NULL: Final = Type("null_type")
TIMESTAMP: Final = Type(_TIMESTAMP)
DURATION: Final = Type(_DURATION)

_NULLABLE: Final = frozenset({"optional_type", "null_type", _DURATION, _TIMESTAMP, "net.IP", "net.CIDR",
                              "kubernetes.NamedFormat"})  # fmt: skip
_MESSAGES: Final = ("kubernetes.URL", "kubernetes.Quantity", "kubernetes.Semver")


def list_of(item: Type) -> Type:
    """``list(item)``."""
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    """``map(key, value)``."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """``optional_type(value)``."""
    return Type("optional_type", (value,))


def object_of(name: str, fields: Mapping[str, Type]) -> Type:
    """An object with known fields; objects are told apart by name."""
    return Type(name, fields=fields)


def is_dyn(kind: Type) -> bool:
    """Whether nothing can be said of values of a type."""
    return kind in (DYN, ERROR)


class Substitution:
    """What type variables turned out to be."""

    def __init__(self, known: Mapping[str, Type] | None = None) -> None:
        self._known = dict(known or {})

    def copy(self) -> "Substitution":
        """An independent copy."""
        return Substitution(self._known)

    def replace(self, other: "Substitution") -> None:
        """Take over what another one knows."""
        self._known = other._known  # noqa: SLF001 - the same class

    def apply(self, kind: Type, *, open_as_dyn: bool = False) -> Type:
        """A type with its variables replaced; unknown ones stay, or become dyn."""
        if kind.variable:
            found = self._known.get(kind.name)
            if found is None:
                return DYN if open_as_dyn else kind
            return self.apply(found, open_as_dyn=open_as_dyn)
        if not kind.params:
            return kind
        params = tuple(self.apply(each, open_as_dyn=open_as_dyn) for each in kind.params)
        return Type(kind.name, params, kind.variable, kind.fields)

    def _occurs(self, variable: Type, kind: Type) -> bool:
        if kind.variable:
            if kind.name == variable.name:
                return True
            found = self._known.get(kind.name)
            return found is not None and self._occurs(variable, found)
        return any(self._occurs(variable, each) for each in kind.params)

    def _bind(self, kind: Type, variable: Type) -> tuple[bool, bool]:
        """Whether a type may stand for a variable, and whether one was known already."""
        if kind.variable and kind.name == variable.name:
            return True, True
        known = self._known.get(variable.name)
        if known is not None:
            if not self.assignable(kind, known):
                return False, True
            if less_specific(kind, known) and not self._occurs(variable, kind):
                self._known[variable.name] = kind
            return True, True
        if self._occurs(variable, kind):
            return False, False
        self._known[variable.name] = kind
        return True, False

    def assignable(self, value: Type, wanted: Type) -> bool:  # noqa: PLR0911 - rules in order
        """Whether values of one type may be used where another is wanted; variables are bound."""
        if wanted.variable:
            fits, known = self._bind(value, wanted)
            if fits:
                return True
            if known:
                return False
        if value.variable:
            return self._bind(wanted, value)[0]
        if is_dyn(value) or is_dyn(wanted):
            return True
        if value == NULL:
            return _nullable(wanted)
        if wanted == NULL:
            return _nullable(value)
        if value.name != wanted.name:
            return False
        if value.name == "type":
            return True
        return self.all_assignable(value.params, wanted.params)

    def all_assignable(self, values: Sequence[Type], wanted: Sequence[Type]) -> bool:
        """The same of several at once; nothing is bound unless all fit."""
        if len(values) != len(wanted):
            return False
        trial = self.copy()
        if all(trial.assignable(*pair) for pair in zip(values, wanted, strict=True)):
            self.replace(trial)
            return True
        return False


def _nullable(kind: Type) -> bool:
    return kind.fields is not None or kind.name in _NULLABLE or kind.name in _MESSAGES


def less_specific(one: Type, other: Type) -> bool:
    """Whether one type is equal to another or says less."""
    if is_dyn(one) or one.variable:
        return True
    if is_dyn(other) or other.variable or one.name != other.name:
        return False
    if one.name == "type":
        return True
    return len(one.params) == len(other.params) and all(
        map(less_specific, one.params, other.params)
    )


def renamed(kind: Type, suffix: str) -> Type:
    """A declared type whose variables are fresh."""
    if kind.variable:
        return Type(kind.name + suffix, variable=True)
    if not kind.params:
        return kind
    return Type(kind.name, tuple(renamed(each, suffix) for each in kind.params))


def parse_type(text: str) -> Type:
    """The type of a declaration: ``map(K, list(V))``; single capitals are variables."""
    name, paren, rest = text.partition("(")
    if not paren:
        if len(name) == 1 and name.isupper():
            return Type(name, variable=True)
        return {"timestamp": TIMESTAMP, "duration": DURATION}.get(name, Type(name))
    parts, depth, current = [], 0, ""
    for char in rest[:-1]:
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append(current)
            current = ""
        else:
            current += char
    params = tuple(parse_type(part.strip()) for part in [*parts, current])
    return Type("optional_type" if name == "optional" else name, params)
