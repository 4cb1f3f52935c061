"""Formats of strings in schemas, as ``kube-openapi/pkg/validation/strfmt`` knows them."""

import base64
import binascii
import datetime as dt
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

_MAX_EMAIL: Final = 998
_MAX_DURATION: Final = 256
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME: Final = re.compile(
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_DURATION_PART: Final = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)"
_GO_DURATION: Final = re.compile(rf"[-+]?(?:0|(?:{_DURATION_PART})+)")
_LOOSE_DURATION: Final = re.compile(r"[0-9]+\s*([A-Za-zµ]+)")
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"


def _full(pattern: str, flags: int = 0) -> Callable[[str], bool]:
    compiled = re.compile(pattern, flags | re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def is_date(text: str) -> bool:
    """``2006-01-02``."""
    try:
        return _DATE.fullmatch(text) is not None and dt.date.fromisoformat(text) is not None
    except ValueError:
        return False


def is_date_time(text: str) -> bool:
    """``2006-01-02T15:04:05Z`` with a zone; fractions are fine."""
    date, separator, time = text.lower().partition("t")
    found = _DATE_TIME.fullmatch(time)
    if not separator or found is None or not is_date(date):
        return False
    return found[1] <= "23" and found[2] <= "59" and found[3] <= "59"


def is_duration(text: str) -> bool:
    """``1h30m`` or, more loosely, ``2 days``."""
    if len(text) > _MAX_DURATION:
        return False
    if _GO_DURATION.fullmatch(text):
        return True
    return any(_is_unit(found[1].lower()) for found in _LOOSE_DURATION.finditer(text))


_UNITS: Final = ("ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk")
_LONG_UNITS: Final = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")


def _is_unit(unit: str) -> bool:
    return unit in _UNITS or unit.startswith(_LONG_UNITS)


def is_base64(text: str) -> bool:
    """Standard alphabet, padded."""
    try:
        return bool(text) and base64.b64decode(text, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


def _without_leading_zeros(text: str) -> str:
    return re.sub(r"(^|\.)0+(?=[0-9])", r"\1", text)


def is_ipv4(text: str) -> bool:
    """Dotted; leading zeros and the form ``::ffff:1.2.3.4`` are tolerated."""
    if ":" in text:
        return "." in text and is_ipv6(text)
    try:
        return ipaddress.IPv4Address(_without_leading_zeros(text)) is not None
    except ValueError:
        return False


def is_ipv6(text: str) -> bool:
    """Without a zone."""
    try:
        return "%" not in text and ipaddress.IPv6Address(text) is not None
    except ValueError:
        return False


def is_cidr(text: str) -> bool:
    """An address and a prefix length; host bits may be set."""
    address, slash, bits = text.partition("/")
    if not slash or not bits.isascii() or not bits.isdigit():
        return False
    if ":" in address:
        return is_ipv6(address) and int(bits) <= 128
    return is_ipv4(address) and int(bits) <= 32


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AUTHORITY: Final = re.compile(r"(?:[^@]*@)?(?:\[[^\]\s]+\]|[^\s:<>\"\[\]]*)(?::[0-9]*)?")


def is_uri(text: str) -> bool:
    """An absolute URI or an absolute path."""
    if not text or any(char < " " or char == "\x7f" for char in text):
        return False
    scheme = _SCHEME.match(text)
    rest = (text[scheme.end() :] if scheme is not None else text).partition("?")[0]
    if scheme is None and not rest.startswith("/"):
        return False
    if _BAD_ESCAPE.search(rest):
        return False
    if scheme is None or not rest.startswith("//"):
        return True
    return _AUTHORITY.fullmatch(rest[2:].partition("/")[0]) is not None


_ATOM_CHAR: Final = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010FFFF-"
_ATOM: Final = rf"[{_ATOM_CHAR}]+"
_TEXT: Final = r'"(?:[^"\\]|\\.)*"'
_ADDRESS: Final = rf"(?:{_ATOM}(?:\.{_ATOM})*|{_TEXT})@(?:{_ATOM}(?:\.{_ATOM})*|\[[^\]\s]+\])"
_EMAIL: Final = re.compile(rf"\s*(?:(?:[ .{_ATOM_CHAR}]|{_TEXT})*<{_ADDRESS}>|{_ADDRESS})\s*")


def is_email(text: str) -> bool:
    """An address, possibly with a display name."""
    return len(text) <= _MAX_EMAIL and _EMAIL.fullmatch(text) is not None


def is_hostname(text: str) -> bool:
    """One label with at most one dash after its first character, or several with a top level in letters."""
    *labels, last = text.split(".")
    if len(text) > 255 or any(len(label.encode()) > 63 for label in (*labels, last)):
        return False
    if not labels:
        return bool(text) and _is_host_char(text[0]) and _are_host_chars(text[1:].removeprefix("-"))
    if not 2 <= len(last) <= 63 or not all(_category(char) == "L" for char in last):
        return False
    return all(
        label
        and _is_host_char(label[0])
        and _is_host_char(label[-1])
        and _are_host_chars(label.replace("-", ""))
        for label in labels
    )


def _category(char: str) -> str:
    return unicodedata.category(char)[0]


def _is_host_char(char: str) -> bool:
    return _category(char) in "LS" or char in "0123456789"


def _are_host_chars(text: str) -> bool:
    return all(map(_is_host_char, text))


def is_mac(text: str) -> bool:
    """48, 64 or 160 bits, plain or with colons, dashes or dots."""
    if re.fullmatch(r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{40}", text):
        return True
    for separator, size in ((":", 2), ("-", 2), (".", 4)):
        parts = text.split(separator)
        if len(parts) * size in (12, 16, 40) and all(
            len(part) == size and re.fullmatch(r"[0-9A-Fa-f]+", part) for part in parts
        ):
            return True
    return False


def _digits(text: str) -> str:
    return re.sub(r"[\s-]", "", text)


def is_isbn10(text: str) -> bool:
    """With its check digit."""
    digits = _digits(text)
    if not re.fullmatch(r"[0-9]{9}[0-9X]", digits):
        return False
    values = [10 if char == "X" else int(char) for char in digits]
    return sum((index + 1) * value for index, value in enumerate(values)) % 11 == 0


def is_isbn13(text: str) -> bool:
    """With its check digit."""
    digits = _digits(text)
    if not re.fullmatch(r"[0-9]{13}", digits):
        return False
    return sum(int(char) * (3 if index % 2 else 1) for index, char in enumerate(digits)) % 10 == 0


def is_credit_card(text: str) -> bool:
    """By length and check digit."""
    digits = re.sub(r"[^0-9]", "", text)
    if not 12 <= len(digits) <= 19:
        return False
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = int(char) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_UUID: Final = "[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_BYTE: Final = r"(?:[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])"

FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "bsonobjectid": _full("[0-9a-fA-F]{24}"),
    "uri": is_uri,
    "email": is_email,
    "hostname": is_hostname,
    "ipv4": is_ipv4,
    "ipv6": is_ipv6,
    "cidr": is_cidr,
    "mac": is_mac,
    "uuid": _full(_UUID % ("[0-9a-f]", "[0-9a-f]"), re.IGNORECASE),
    "uuid3": _full(_UUID % ("3", "[0-9a-f]"), re.IGNORECASE),
    "uuid4": _full(_UUID % ("4", "[89ab]"), re.IGNORECASE),
    "uuid5": _full(_UUID % ("5", "[89ab]"), re.IGNORECASE),
    "isbn": lambda text: is_isbn10(text) or is_isbn13(text),
    "isbn10": is_isbn10,
    "isbn13": is_isbn13,
    "creditcard": is_credit_card,
    "ssn": _full(r"[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}"),
    "hexcolor": _full("#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _full(rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)"),
    "byte": is_base64,
    "password": lambda _: True,
    "date": is_date,
    "duration": is_duration,
    "datetime": is_date_time,
    "k8sshortname": lambda text: len(text) <= 63 and bool(re.fullmatch(_LABEL, text)),
    "k8slongname": lambda text: (
        len(text) <= 253 and bool(re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", text))
    ),
}
"""Checks by format; dashes in a format's name do not count."""


def effective_format(name: str, types: tuple[str, ...]) -> str:
    """The format if it means something for these types, else nothing.

    Unknown formats are ignored, and so are those of numbers: as in Kubernetes, ``int32`` is a remark.
    """
    if types in (("boolean",), ("integer",), ("number",), ("array",), ("object",)):
        return ""
    return name if name.replace("-", "") in FORMATS else ""


def has_format(text: str, name: str) -> bool:
    """Whether a string has a (known) format."""
    return FORMATS[name.replace("-", "")](text)
