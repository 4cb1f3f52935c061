"""``"%s is %d".format([…])`` (cel-go ``ext/formatting.go``)."""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

from knarr.apiserver.cel.library.lists import items_of
from knarr.apiserver.cel.library.operators import OPERATORS
from knarr.apiserver.cel.library.strings import text
from knarr.apiserver.cel.numbers import float_text
from knarr.apiserver.cel.values import Budget, EvalError, TypeValue, Uint, type_name

MAX_PRECISION: Final = 1000
_CLAUSE: Final = re.compile(r"%(?:(?P<percent>%)|(?:\.(?P<precision>[0-9]*))?(?P<kind>[A-Za-z])?)")
_WORDS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SUPERSCRIPT: Final = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SHOWN: Final = frozenset(
    {"google.protobuf.Duration", "google.protobuf.Timestamp", "list", "map", "null_type", "type"}
)
_WRITABLE: Final = {
    "s": frozenset({"string", "bool", "bytes", "int", "uint", "double"}),
    "d": frozenset({"int", "uint", "double"}),
    "f": frozenset({"double"}),
    "e": frozenset({"double"}),
    "b": frozenset({"int", "uint", "bool"}),
    "x": frozenset({"int", "uint", "string", "bytes"}),
    "o": frozenset({"int", "uint"}),
}
_ONLY: Final = {
    "s": "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, "
    "durations, and timestamps",
    "d": "decimal clause can only be used on integers",
    "f": "fixed-point clause can only be used on doubles",
    "e": "scientific clause can only be used on doubles",
    "b": "binary clause can only be used on integers and bools",
    "x": "hex clause can only be used on integers, byte buffers, and strings",
    "o": "octal clause can only be used on integers",
}


def format_text(budget: Budget, template: Any, values: Any) -> str:
    """The template with its clauses filled in.

    Raises:
        EvalError: a clause without a value, or a value that is not for its clause.
    """
    items = items_of(values, budget)
    budget.spend(len(text(template)) // 10)
    out: list[str] = []
    used = 0
    for kind, precision, plain in clauses(template):
        out.append(plain)
        if kind is None:
            continue
        if used >= len(items):
            raise EvalError(f"index {used} out of range")
        piece = _clause(budget, kind, precision, items[used])
        budget.spend(len(piece) // 10)
        out.append(piece)
        used += 1
    return "".join(out)


def clauses(template: str) -> Iterator[tuple[str | None, str | None, str]]:
    """The clauses of a template: letter (empty when there is none), precision, the text before it.

    The last one has None for a letter and stands for the text after the others.
    """
    plain: list[str] = []
    last = 0
    for found in _CLAUSE.finditer(template):
        plain.append(template[last : found.start()])
        last = found.end()
        if found["percent"]:
            plain.append("%")
            continue
        yield found["kind"] or "", found["precision"], "".join(plain)
        plain = []
    yield None, None, "".join(plain) + template[last:]


def clause_problem(kind: str, given: str) -> str:
    """Why a clause cannot write values of a type; empty when it can, or when nobody knows yet."""
    if not kind:
        return "unexpected end of string"
    lower = "x" if kind == "X" else kind
    if lower not in _WRITABLE:
        return f'could not parse formatting clause: unrecognized formatting clause "{kind}"'
    if given == "dyn" or given in _WRITABLE[lower] or (lower == "s" and given in _SHOWN):
        return ""
    return f"error during formatting: {_ONLY[lower]}, was given {given}"


def _clause(budget: Budget, kind: str, precision: str | None, value: Any) -> str:
    digits = 6 if precision is None else int((precision or "0")[:6])
    if digits > MAX_PRECISION:
        raise EvalError(f"precision {digits} is beyond the limit of {MAX_PRECISION}")
    lower = "x" if kind == "X" else kind
    match lower:
        case "s":
            result: str | None = shown(budget, value)
        case "d":
            result = _decimal(value)
        case "f" | "e":
            result = _real(lower, digits, value)
        case "b":
            result = ("1" if value else "0") if isinstance(value, bool) else _based(value, "b")
        case "o":
            result = _based(value, "o")
        case "x":
            result = _hexadecimal(value)
        case _:
            raise EvalError(
                f'could not parse formatting clause: unrecognized formatting clause "{kind}"'
            )
    if result is None:
        raise EvalError(f"error during formatting: {_ONLY[lower]}, was given {type_name(value)}")
    return result.upper() if kind == "X" else result


def _decimal(value: Any) -> str | None:
    if type(value) in (int, Uint):
        return str(int(value))
    if isinstance(value, float) and not math.isfinite(value):
        return _word(value)
    return value if isinstance(value, str) and value in _WORDS else None


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "∞" if value > 0 else "-∞"


def _real(kind: str, digits: int, value: Any) -> str | None:
    if isinstance(value, str) and value in _WORDS:
        value = _WORDS[value]
    if not isinstance(value, float):
        return None
    if not math.isfinite(value):
        return _word(value)
    if kind == "f":
        return f"{value:.{digits}f}"
    # cel-go takes the precision of this clause for a width
    mantissa, _, exponent = f"{value:.6e}".partition("e")
    power = int(exponent)
    sign = "-" if power < 0 else ""
    tail = f"{sign}{abs(power):02d}".translate(_SUPERSCRIPT)
    return f"{mantissa}\u00d710{tail}".rjust(digits)


def _based(value: Any, base: str) -> str | None:
    return format(int(value), base) if type(value) in (int, Uint) else None


def _hexadecimal(value: Any) -> str | None:
    if isinstance(value, str):
        return value.encode().hex()
    if isinstance(value, bytes):
        return value.hex()
    return _based(value, "x")


def shown(budget: Budget, value: Any) -> str:
    """A value as ``%s`` writes it.

    Raises:
        EvalError: it cannot be written.
    """
    match value:
        case list():
            budget.spend(len(value))
            return f"[{', '.join(_quoted(budget, item) for item in value)}]"
        case dict():
            budget.spend(len(value))
            pairs = sorted(
                (_quoted(budget, key), _quoted(budget, item)) for key, item in value.items()
            )
            return "{" + ", ".join(f"{key}:{item}" for key, item in pairs) + "}"
        case None:
            return "null"
        case TypeValue():
            return value.name
        case str() | bool() | int() | float() | bytes():
            return float_text(value) if isinstance(value, float) else _string(budget, value)
        case _ if type_name(value).startswith("google.protobuf."):
            return _string(budget, value)
        case _:
            raise EvalError(f"error during formatting: {_ONLY['s']}, was given {type_name(value)}")


def _string(budget: Budget, value: Any) -> str:
    return str(OPERATORS["string"](budget, value))


def _quoted(budget: Budget, value: Any) -> str:
    written = (
        f"{value:.6f}"
        if isinstance(value, float) and math.isfinite(value)
        else shown(budget, value)
    )
    match value:
        case str():
            return '"' + written.replace('"', '\\"') + '"'
        case bytes():
            return f'b"{written}"'
        case _ if type_name(value) == "google.protobuf.Duration":
            return f'duration("{written}")'
        case _ if type_name(value) == "google.protobuf.Timestamp":
            return f'timestamp("{written}")'
        case _:
            return written
