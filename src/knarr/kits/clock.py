"""Time as a dependency.

Decisions take ``now`` as a parameter; shells take a ``Clock``. Two scales exist and must not be mixed:
``monotonic`` (seconds, for durations and deadlines) and ``wall`` (an aware datetime in UTC, for
timestamps that people and other machines read).
"""

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """Where a component gets its time from."""

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back."""
        ...

    def wall(self) -> dt.datetime:
        """Now, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back."""
        return time.monotonic()

    def wall(self) -> dt.datetime:
        """Now, in UTC."""
        return dt.datetime.now(dt.UTC)


class ManualClock:
    """A clock that a test moves by hand; both scales advance together."""

    __slots__ = ("_monotonic", "_wall")

    def __init__(self, start: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) -> None:
        self._monotonic = 1_000.0
        self._wall = start

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back."""
        return self._monotonic

    def wall(self) -> dt.datetime:
        """Now, in UTC."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Move both scales forward.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot go back: {seconds}")
        self._monotonic += seconds
        self._wall += dt.timedelta(seconds=seconds)


def format_timestamp(moment: dt.datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as ``metav1.Time`` is written."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def format_micro_timestamp(moment: dt.datetime) -> str:
    """RFC 3339 in UTC with six digits of fraction, as ``metav1.MicroTime`` is written."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> dt.datetime:
    """The inverse of the two formatters.

    Raises:
        ValueError: ``text`` is not an RFC 3339 timestamp with a zone.
    """
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"timestamp {text!r} has no time zone")
    return moment.astimezone(dt.UTC)
