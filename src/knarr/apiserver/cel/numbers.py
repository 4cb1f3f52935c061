"""Numbers as text, the way Go writes and reads them."""

import math
import re
from typing import Final

from knarr.apiserver.cel.values import MAX_INT, MAX_UINT, MIN_INT

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)",
    re.ASCII | re.IGNORECASE,
)
_MAX_FLOAT_TEXT: Final = 1000
_PLAIN_DIGITS: Final = 6
"""Beyond these, Go writes an exponent."""


def float_text(value: float) -> str:  # noqa: PLR0911 - forms of numbers
    """The shortest text that reads back the same (``strconv.FormatFloat`` with ``g``)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits, exponent = _shortest(abs(value))
    sign = "-" if value < 0 else ""
    if exponent < -4 or exponent >= _PLAIN_DIGITS:
        mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    if len(digits) <= exponent + 1:
        return sign + digits.ljust(exponent + 1, "0")
    return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"


def _shortest(value: float) -> tuple[str, int]:
    """Digits and the power of ten of the first one."""
    mantissa, _, power = f"{value!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole) if whole.strip("0") else -(len(fraction) - len(fraction.lstrip("0")))
    if whole.strip("0"):
        leading = len(whole.lstrip("0"))
    return digits.rstrip("0") or "0", leading - 1 + int(power or 0)


def parse_integer(text: str) -> int | None:
    """A number of 64 bits in decimal, with or without a sign; None for anything else."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if MIN_INT <= value <= MAX_INT else None


def parse_unsigned(text: str) -> int | None:
    """A number of 64 bits without a sign."""
    if not _INTEGER.fullmatch(text) or text[0] in "+-":
        return None
    value = int(text)
    return value if value <= MAX_UINT else None


def parse_float(text: str) -> float | None:
    """A number with a fraction or an exponent, or none."""
    if len(text) > _MAX_FLOAT_TEXT or not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    if math.isinf(value) and "inf" not in text.lower():
        return None
    return value
