"""Cron schedules as Kubernetes reads them: five fields, ``@daily`` and its like, ``@every 90m``.

The syntax is checked here, because Kubernetes' parser and the library that computes the times differ:
Kubernetes knows ``?`` but neither ``L`` nor ``#`` nor a seventh weekday, and a ``*/2`` day is one of two
alternatives when the other day field is restricted too. Where the clocks change, Debian's cron is
followed: a time that does not exist is made up for at once, one that comes twice counts once.
"""

import datetime as dt
import math
import re
import zoneinfo
from dataclasses import dataclass

from cronsim import CronSim, CronSimError

from knarr.resources.duration import parse_duration

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MAX_CHARACTERS = 4096
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ITEM = re.compile(
    r"(?:(?P<all>[*?])|(?P<low>[0-9]{1,2}|[a-z]{3})(?:-(?P<high>[0-9]{1,2}|[a-z]{3}))?)"
    r"(?:/(?P<step>[0-9]{1,4}))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    day: bool = False

    def number(self, text: str) -> int:
        """A value of this field.

        Raises:
            ValueError: it is none.
        """
        lower = text.lower()
        if lower in self.names:
            return self.names.index(lower) + self.first
        if not text.isdecimal():
            raise ValueError(f"failed to parse int from {text} in field {self.name}")
        number = int(text)
        if not self.first <= number <= self.last:
            bound = (
                f"above maximum ({self.last})"
                if number > self.last
                else f"below minimum ({self.first})"
            )
            raise ValueError(f"{self.name} ({number}) {bound}")
        return number

    def item(self, text: str) -> str:
        """One element of the field's list as the library understands it.

        Raises:
            ValueError: it is none.
        """
        match = _ITEM.fullmatch(text)
        if match is None:
            raise ValueError(f"failed to parse {text!r} in field {self.name}")
        step = int(match["step"] or 1)
        if not step:
            raise ValueError(f"step of range should be a positive number: {text}")
        if match["all"]:
            if step == 1:
                return "*"
            return f"{self.first}-{self.last}/{step}" if self.day else f"*/{step}"
        low = self.number(match["low"])
        # "5/10" means from 5 to the end.
        open_end = self.last if match["step"] else low
        high = open_end if match["high"] is None else self.number(match["high"])
        if low > high:
            raise ValueError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
        return ",".join(str(number) for number in range(low, high + 1, step))

    def normal(self, text: str) -> str:
        """The whole field as the library understands it.

        Raises:
            ValueError: it is malformed.
        """
        items = [self.item(part) for part in text.split(",")]
        return "*" if "*" in items else ",".join(items)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31, day=True),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 0, 6, _DAYS, day=True),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due.

    Attributes:
        expression: five fields, normalised; empty when ``every_s`` says it all.
        every_s: seconds between two times, counted from wherever the caller begins.
        zone: in which the fields are meant.
    """

    expression: str
    every_s: int
    zone: dt.tzinfo

    def next_after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first time after a moment, in UTC; None when there is none for 50 years."""
        if self.every_s:
            return moment.replace(microsecond=0) + dt.timedelta(seconds=self.every_s)
        try:
            found = next(CronSim(self.expression, moment.astimezone(self.zone)))
        except (StopIteration, OverflowError):
            return None
        return found.astimezone(dt.UTC)

    def last_until(self, earliest: dt.datetime, now: dt.datetime) -> dt.datetime | None:
        """The newest time after ``earliest`` and not after ``now``, in UTC, or None."""
        if self.every_s:
            start = earliest.replace(microsecond=0)
            times = math.floor((now - start).total_seconds() / self.every_s)
            return start + times * dt.timedelta(seconds=self.every_s) if times > 0 else None
        following = now.astimezone(dt.UTC).replace(second=0, microsecond=0) + dt.timedelta(
            minutes=1
        )
        try:
            found = next(CronSim(self.expression, following.astimezone(self.zone), reverse=True))
        except (StopIteration, OverflowError):
            return None
        last = found.astimezone(dt.UTC)
        return last if earliest < last <= now else None

    def count(self, earliest: dt.datetime, now: dt.datetime, limit: int) -> int:
        """How many times lie after ``earliest`` and not after ``now``; at most ``limit``."""
        found, moment = 0, earliest
        while found < limit:
            following = self.next_after(moment)
            if following is None or following > now:
                break
            moment = following
            found += 1
        return found


def parse_zone(name: str | None) -> dt.tzinfo:
    """A time zone of the IANA database; None is UTC.

    Raises:
        ValueError: there is no such zone.
    """
    if name is None:
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name}") from None


def parse_schedule(text: str, zone: dt.tzinfo = dt.UTC) -> Schedule:
    """A schedule.

    Raises:
        ValueError: it is malformed; the text says how.
    """
    text = text.strip()
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"longer than {_MAX_CHARACTERS} characters")
    if text.startswith("@every "):
        seconds = int(parse_duration(text.removeprefix("@every ").strip()))
        return Schedule("", max(1, seconds), zone)
    if text.startswith("@"):
        if text not in _MACROS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _MACROS[text]
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    expression = " ".join(field.normal(part) for field, part in zip(_FIELDS, fields, strict=True))
    try:
        CronSim(expression, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    except CronSimError as error:
        raise ValueError(str(error)) from None
    return Schedule(expression, 0, zone)
