"""Field errors in the words of Kubernetes (``apimachinery/pkg/util/validation/field``)."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from knarr.meta.fielderrors import FieldError

NO_PATH: Final = "<nil>"
"""What Kubernetes writes in place of the path of an error that concerns the whole document."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_HTML: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
    "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def child(path: str, name: str) -> str:
    """The path of a field."""
    return f"{path}.{name}" if path else name


def key(path: str, name: object) -> str:
    """The path of a map's entry or a list's item."""
    return f"{path}[{name}]"


def quoted(text: str) -> str:
    """A string in quotes, as Go's ``%q`` writes it."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fits_int64(value: int) -> bool:
    """Whether Go reads a number as an integer; larger ones become floats."""
    return -(1 << 63) <= value < 1 << 63


def number(value: float) -> str:
    """A number as Go's ``%v`` writes it."""
    if isinstance(value, int):
        return str(value)
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    mantissa, _, exponent = f"{value!r:s}".partition("e")
    digits = mantissa.replace("-", "").replace(".", "").strip("0")
    power = math.floor(math.log10(abs(value))) if not exponent else int(exponent)
    if -4 <= power < 6 and not exponent:
        return f"{value:.0f}" if value.is_integer() else repr(value)
    if len(digits) > 1:
        digits = f"{digits[0]}.{digits[1:]}"
    sign = "-" if value < 0 else ""
    return f"{sign}{digits}e{'-' if power < 0 else '+'}{abs(power):02d}"


def json_text(value: Any) -> str:
    """Compact JSON with sorted names, as Go writes it: whole numbers without a fraction."""
    return _ENCODER.encode(whole_numbers(value)).decode().translate(_HTML)


def whole_numbers(value: Any) -> Any:
    """The value with 1 for 1.0, which is how Go writes it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, dict):
        return {name: whole_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return value


def shown(value: Any) -> str:
    """A value as errors show it: text in quotes, numbers plainly, the rest as JSON."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case str():
            return quoted(value)
        case _:
            return json_text(value)


def required(path: str, detail: str = "") -> FieldError:
    """A field that must be set."""
    return FieldError(
        message="Required value",
        paths=(path or NO_PATH,),
        details=detail,
        reason="FieldValueRequired",
    )


def invalid(path: str, value: Any, detail: str) -> FieldError:
    """A value that breaks a rule."""
    return FieldError(
        message=f"Invalid value: {shown(value)}", paths=(path or NO_PATH,), details=detail
    )


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    """A value of the wrong type."""
    return FieldError(
        message=f"Invalid value: {shown(value)}",
        paths=(path or NO_PATH,),
        details=detail,
        reason="FieldValueTypeInvalid",
    )


def not_supported(path: str, value: Any, supported: Iterable[Any]) -> FieldError:
    """A value outside an enumeration."""
    names = ", ".join(quoted(each if isinstance(each, str) else shown(each)) for each in supported)
    return FieldError(
        message=f"Unsupported value: {shown(value)}",
        paths=(path or NO_PATH,),
        details=f"supported values: {names}" if names else "",
        reason="FieldValueNotSupported",
    )


def forbidden(path: str, detail: str) -> FieldError:
    """A field that must not be set."""
    return FieldError(
        message="Forbidden", paths=(path or NO_PATH,), details=detail, reason="FieldValueForbidden"
    )


def duplicate(path: str, value: Any) -> FieldError:
    """A value that must be unique."""
    return FieldError(
        message=f"Duplicate value: {shown(value)}",
        paths=(path or NO_PATH,),
        reason="FieldValueDuplicate",
    )


def too_long(path: str, limit: int) -> FieldError:
    """A text that is longer than allowed."""
    unit = "byte" if limit == 1 else "bytes"
    return FieldError(
        message="Too long",
        paths=(path or NO_PATH,),
        details=f"may not be more than {limit} {unit}",
        reason="FieldValueTooLong",
    )


def too_many(path: str, count: int, limit: int) -> FieldError:
    """More items than allowed."""
    unit = "item" if limit == 1 else "items"
    return FieldError(
        message=f"Too many: {count}",
        paths=(path or NO_PATH,),
        details=f"must have at most {limit} {unit}",
        reason="FieldValueTooMany",
    )


def in_order(errors: Iterable[FieldError]) -> tuple[FieldError, ...]:
    """The errors sorted by path and text, each once."""
    return tuple(sorted(dict.fromkeys(errors), key=text_of))


def text_of(error: FieldError) -> str:
    """One error as a line: ``spec.n: Required value``."""
    tail = f": {error.details}" if error.details else ""
    return f"{','.join(error.paths)}: {error.message}{tail}"


def joined(problems: Sequence[str]) -> str:
    """Several problems of one value."""
    return ",".join(problems)
