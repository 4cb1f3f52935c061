"""Moments and spans of time."""

import datetime as dt
import re
import zoneinfo
from typing import Any, Final

from knarr.apiserver.cel.values import Duration, EvalError, Timestamp

_SECOND: Final = 10**9
_MIN_NS: Final = -62135596800 * _SECOND
_MAX_NS: Final = 253402300799 * _SECOND + 999_999_999
_MAX_DURATION_NS: Final = 2**63 - 1
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,100}))?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_UNITS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": _SECOND, "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}  # fmt: skip
_PART: Final = re.compile(r"(\d{1,20})?(?:\.(\d{0,40}))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LOOSE: Final = re.compile(r"(\d{1,9})\s*([A-Za-zµ]+)")
_LOOSE_UNITS: Final = (
    (("ns", "nano"), 1), (("us", "µs", "micro"), 10**3), (("ms", "milli"), 10**6),
    (("s", "sec"), _SECOND), (("m", "min"), 60 * _SECOND), (("h", "hr", "hour"), 3600 * _SECOND),
    (("d", "day"), 86400 * _SECOND), (("w", "wk", "week"), 7 * 86400 * _SECOND),
)  # fmt: skip
_OFFSET: Final = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class BadTime(ValueError):
    """A text that is no moment or span."""


def timestamp_of(ns: int) -> Timestamp:
    """A moment.

    Raises:
        EvalError: it is not in the years 1 to 9999.
    """
    if not _MIN_NS <= ns <= _MAX_NS:
        raise EvalError("timestamp overflow")
    return Timestamp(ns)


def duration_of(ns: int) -> Duration:
    """A span.

    Raises:
        EvalError: it has more than 64 bits of nanoseconds.
    """
    if not -_MAX_DURATION_NS - 1 <= ns <= _MAX_DURATION_NS:
        raise EvalError("duration overflow")
    return Duration(ns)


def parse_timestamp_text(text: str) -> Timestamp:
    """A moment as RFC 3339 writes it.

    Raises:
        BadTime: it is written otherwise.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise BadTime(text)
    try:
        zone = _zone_of(found[8])
        moment = dt.datetime(*map(int, found.group(1, 2, 3, 4, 5, 6)), tzinfo=zone)  # type: ignore[arg-type,misc]  # six numbers
    except ValueError:
        raise BadTime(text) from None
    fraction = int((found[7] or "0").ljust(9, "0")[:9])
    seconds = (moment - _EPOCH) // dt.timedelta(seconds=1)
    ns = seconds * _SECOND + fraction
    if not _MIN_NS <= ns <= _MAX_NS:
        raise BadTime(text)
    return Timestamp(ns)


def _zone_of(text: str) -> dt.tzinfo:
    if text in ("Z", "z"):
        return dt.UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    span = dt.timedelta(hours=hours, minutes=minutes)
    return dt.timezone(-span if text[0] == "-" else span)


def parse_date_text(text: str) -> Timestamp:
    """The beginning of a day.

    Raises:
        BadTime: the text is no date.
    """
    if not _DATE.fullmatch(text):
        raise BadTime(text)
    return parse_timestamp_text(f"{text}T00:00:00Z")


def parse_duration_text(text: str) -> Duration:
    """A span as Go writes it: ``1h30m``, ``-1.5s``.

    Raises:
        BadTime: it is written otherwise.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return Duration(0)
    total, at = 0, 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None or not (found[1] or found[2]):
            raise BadTime(text)
        unit = _UNITS[found[3]]
        total += int(found[1] or 0) * unit
        total += int(found[2] or 0) * unit // 10 ** len(found[2] or "")
        at = found.end()
    if not rest or total > _MAX_DURATION_NS:
        raise BadTime(text)
    return Duration(-total if text.startswith("-") else total)


def parse_loose_duration(text: str) -> Duration:
    """A span as documents may have it, ``2 days`` too.

    Raises:
        BadTime: it is none.
    """
    try:
        return parse_duration_text(text)
    except BadTime:
        total, known = 0, False
        for found in _LOOSE.finditer(text):
            unit = found[2].lower()
            for names, size in _LOOSE_UNITS:
                if unit == names[0] or unit in names or unit.startswith(names[-1]):
                    total, known = total + int(found[1]) * size, True
                    break
        if not known or total > _MAX_DURATION_NS:
            raise
        return Duration(total)


def timestamp_text(moment: Timestamp) -> str:
    """RFC 3339 in UTC, without needless zeros."""
    seconds, fraction = divmod(moment.ns, _SECOND)
    base = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    year, _, rest = base.partition("-")
    tail = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{int(year):04d}-{rest}{tail}Z"


def duration_text(span: Duration) -> str:
    """In seconds: ``5400s``, ``1.5s``."""
    sign = "-" if span.ns < 0 else ""
    seconds, fraction = divmod(abs(span.ns), _SECOND)
    tail = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{sign}{seconds}{tail}s"


def local(moment: Timestamp, zone: str) -> dt.datetime:
    """The moment on the calendar of a zone.

    Raises:
        EvalError: the zone is unknown.
    """
    at = _EPOCH + dt.timedelta(seconds=moment.ns // _SECOND)
    try:
        return at.astimezone(_zone(zone))
    except OverflowError:
        raise EvalError("timestamp overflow") from None


def _zone(name: str) -> dt.tzinfo:
    if name in ("", "UTC"):
        return dt.UTC
    found = _OFFSET.fullmatch(name)
    if found is not None:
        span = dt.timedelta(hours=int(found[2]), minutes=int(found[3]))
        if span < dt.timedelta(days=1):
            return dt.timezone(-span if found[1] == "-" else span)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise EvalError(f"unknown time zone {name}") from None


def part_of(name: str, value: Any, zone: str) -> int:  # noqa: C901, PLR0911 - one line per part
    """What ``getHours`` and its like say of a moment or a span."""
    if isinstance(value, Duration):
        return _part_of_span(name, value.ns)
    at = local(value, zone)
    match name:
        case "getFullYear":
            return at.year
        case "getMonth":
            return at.month - 1
        case "getDate":
            return at.day
        case "getDayOfMonth":
            return at.day - 1
        case "getDayOfWeek":
            return (at.weekday() + 1) % 7
        case "getDayOfYear":
            return at.timetuple().tm_yday - 1
        case "getHours":
            return at.hour
        case "getMinutes":
            return at.minute
        case "getSeconds":
            return at.second
        case _:
            return value.ns % _SECOND // 10**6  # type: ignore[no-any-return]  # a Timestamp's


def _part_of_span(name: str, ns: int) -> int:
    sign = -1 if ns < 0 else 1
    unit = {
        "getHours": 3600 * _SECOND,
        "getMinutes": 60 * _SECOND,
        "getSeconds": _SECOND,
    }.get(name)
    if unit is not None:
        return sign * (abs(ns) // unit)
    return sign * (abs(ns) // 10**6)
