"""Schedules against the definition: a minute is due when all its parts are."""

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.resources.batch.schedule import parse_schedule

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@st.composite
def fields(draw, low: int, high: int) -> tuple[str, frozenset[int], bool]:
    """Text, values and whether it is a bare star."""
    match draw(st.integers(0, 4)):
        case 0 | 1:
            return "*", frozenset(range(low, high + 1)), True
        case 2:
            step = draw(st.integers(2, 20))
            return f"*/{step}", frozenset(range(low, high + 1, step)), False
        case 3:
            first = draw(st.integers(low, high))
            last = draw(st.integers(first, high))
            step = draw(st.integers(1, 5))
            return f"{first}-{last}/{step}", frozenset(range(first, last + 1, step)), False
        case _:
            chosen = draw(st.sets(st.integers(low, high), min_size=1, max_size=4))
            return ",".join(map(str, sorted(chosen))), frozenset(chosen), False


SCHEDULES = st.tuples(*(fields(low, high) for low, high in RANGES)).filter(
    lambda parts: min(parts[2][1]) <= 28
)
MOMENTS = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2028, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=dt.UTC)
)


def due(parts, moment: dt.datetime) -> bool:
    minute, hour, day, month, weekday = parts
    on_day, on_weekday = moment.day in day[1], moment.isoweekday() % 7 in weekday[1]
    right_day = on_day and on_weekday if day[2] or weekday[2] else on_day or on_weekday
    return (
        moment.minute in minute[1]
        and moment.hour in hour[1]
        and moment.month in month[1]
        and right_day
    )


@settings(deadline=None)
@given(SCHEDULES, MOMENTS)
def test_next_and_last_agree_with_the_definition(parts, moment):
    schedule = parse_schedule(" ".join(part[0] for part in parts))
    following = schedule.next_after(moment)
    assert following is not None
    assert following > moment
    assert due(parts, following)
    assert schedule.last_until(moment, following) == following
    almost = following - dt.timedelta(seconds=1)
    assert schedule.last_until(moment, almost) is None
    minute = moment.replace(second=0, microsecond=0)
    for _ in range(300):
        minute += dt.timedelta(minutes=1)
        if minute >= following:
            break
        assert not due(parts, minute)
