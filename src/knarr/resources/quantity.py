"""Kubernetes quantities: ``100m``, ``1.5``, ``64Mi``, ``2e3`` (``apimachinery/pkg/api/resource``).

A quantity is an exact number with a hint of how people like to read it. ``canonical_quantity`` writes it
as the API server does: no fraction, the largest suffix that keeps every digit.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal, InvalidOperation, localcontext
from typing import Literal

Format = Literal["decimal", "binary", "exponent"]

PATTERN_TEXT = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_PATTERN = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,6}))?"
)
_USUAL = re.compile(r"([1-9][0-9]{0,5})(m|k|M|G|Ki|Mi|Gi|)")
_DECIMAL_SUFFIXES = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_SUFFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_LIMIT = Decimal(2**63 - 1)
_NANO = Decimal("1e-9")
_PRECISION = 60


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact amount; two are equal when their values are, whatever their suffixes."""

    value: Decimal
    format: Format = "decimal"

    def __str__(self) -> str:
        return _canonical(self)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up (CPU)."""
        return int((self.value * 1000).to_integral_value(rounding=ROUND_UP))

    @property
    def whole(self) -> int:
        """Units, rounded up (bytes)."""
        return int(self.value.to_integral_value(rounding=ROUND_UP))


def parse_quantity(text: str | float) -> Quantity:
    """Read a quantity as it stands in a document; numbers are taken as their decimal text.

    Raises:
        ValueError: the text is no quantity.
    """
    match = _PATTERN.fullmatch(str(text))
    if match is None:
        raise ValueError(PATTERN_TEXT)
    suffix, exponent = match["suffix"] or "", match["exponent"]
    # What is beyond every limit becomes infinite instead of an error, and is cut to the limit below.
    with localcontext(Context(prec=_PRECISION, traps=[InvalidOperation])):
        number = Decimal(match["number"])
        form: Format = "decimal"
        if exponent is not None:
            form, value = "exponent", _scaled(number, int(exponent))
        elif suffix.endswith("i"):
            form, value = "binary", number * 1024 ** _BINARY_SUFFIXES.index(suffix)
        else:
            value = _scaled(number, _DECIMAL_SUFFIXES[suffix])
        value = max(-_LIMIT, min(_LIMIT, value))
        return Quantity(value.quantize(_NANO, rounding=ROUND_UP), form)


def _scaled(number: Decimal, exponent: int) -> Decimal:
    bounded = max(-100, min(100, exponent))
    return number.scaleb(bounded)


def canonical_quantity(text: str | float) -> str:
    """The text as the API server writes it back.

    Raises:
        ValueError: the text is no quantity.
    """
    usual = _USUAL.fullmatch(text) if isinstance(text, str) else None
    if usual is not None and _is_canonical(usual[1], usual[2]):
        return usual[0]
    return str(parse_quantity(text))


def _is_canonical(digits: str, suffix: str) -> bool:
    """Whether no larger suffix keeps every digit of a whole number."""
    if suffix.endswith("i"):
        return int(digits) % 1024 != 0
    return not digits.endswith("000")


def _canonical(quantity: Quantity) -> str:
    value = quantity.value
    if value == 0:
        return "0"
    with localcontext(prec=_PRECISION):
        if quantity.format == "binary" and abs(value) >= 1024:
            return _canonical_binary(quantity.whole)
        return _canonical_decimal(value, exponent_form=quantity.format == "exponent")


def _canonical_binary(whole: int) -> str:
    index = 0
    while whole % 1024 == 0 and index < len(_BINARY_SUFFIXES) - 1:
        whole //= 1024
        index += 1
    return f"{whole}{_BINARY_SUFFIXES[index]}"


def _canonical_decimal(value: Decimal, *, exponent_form: bool) -> str:
    nanos = int(value / _NANO)
    exponent = -9
    while nanos % 1000 == 0 and exponent < 18:
        nanos //= 1000
        exponent += 3
    if exponent_form:
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    return f"{nanos}{_DECIMAL_BY_EXPONENT[exponent]}"
