"""Durations as Go writes them: ``1m30s``, ``0.5h``, ``-10ms`` (``time.ParseDuration``).

Exact integers of nanoseconds, because Knative's rules ask for whole seconds.
"""

import re
from fractions import Fraction

SECOND_NS = 1_000_000_000
_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000,
    "s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS,
}  # fmt: skip
_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<unit>ns|us|µs|μs|ms|s|m|h)")
_LIMIT_NS = 2**63 - 1


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a duration.

    Raises:
        ValueError: the text is no duration, or longer than 292 years.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text.removeprefix("-") if sign < 0 else text.removeprefix("+")
    if rest == "0":
        return 0
    total = Fraction(0)
    position = 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None:
            raise ValueError(_problem(text, rest[position:]))
        total += Fraction(match["number"].rstrip(".")) * _UNITS[match["unit"]]
        position = match.end()
    if not rest or total > _LIMIT_NS:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * int(total)


def _problem(text: str, rest: str) -> str:
    number = re.match(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", rest)
    if number is None:
        return f'time: invalid duration "{text}"'
    unit = re.match(r"[^0-9.]*", rest[number.end() :])
    if unit is None or not unit[0]:
        return f'time: missing unit in duration "{text}"'
    return f'time: unknown unit "{unit[0]}" in duration "{text}"'


def parse_duration(text: str) -> float:
    """Seconds of a duration.

    Raises:
        ValueError: the text is no duration.
    """
    return parse_duration_ns(text) / SECOND_NS


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: ``1h0m0s``, ``1.5s``, ``20ms``."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < SECOND_NS:
        unit = "ns" if rest < 1_000 else "µs" if rest < 1_000_000 else "ms"
        return f"{sign}{_decimal(rest, _UNITS[unit])}{unit}"
    hours, rest = divmod(rest, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    text = f"{_decimal(rest, SECOND_NS)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else f"{sign}{text}"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
