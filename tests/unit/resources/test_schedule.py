import datetime as dt

import pytest

from knarr.resources.batch.schedule import parse_schedule, parse_zone

BERLIN = parse_zone("Europe/Berlin")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("schedule", "after", "following"),
    [
        ("* * * * *", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
        ("* * * * *", "2026-01-01T00:00:59", "2026-01-01T00:01:00"),
        ("*/15 * * * *", "2026-01-01T00:16:00", "2026-01-01T00:30:00"),
        ("5/20 * * * *", "2026-01-01T00:26:00", "2026-01-01T00:45:00"),
        ("0 9-17 * * MON-FRI", "2026-01-02T17:00:00", "2026-01-05T09:00:00"),
        ("0 0 1 jan ?", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("@hourly", "2026-01-01T00:00:00", "2026-01-01T01:00:00"),
        ("@weekly", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("@every 1h30m", "2026-01-01T00:00:10", "2026-01-01T01:30:10"),
        # Day and weekday are alternatives when both are restricted, and */2 restricts.
        ("0 0 13 * FRI", "2026-01-03T00:00:00", "2026-01-09T00:00:00"),
        ("0 0 */2 * FRI", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("0 0 13 * *", "2026-01-03T00:00:00", "2026-01-13T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_the_next_time(schedule: str, after: str, following: str) -> None:
    assert parse_schedule(schedule).next_after(at(after)) == at(following)


def test_times_are_those_of_the_zone() -> None:
    daily = parse_schedule("30 9 * * *", BERLIN)
    assert daily.next_after(at("2026-01-01T12:00:00")) == at("2026-01-02T08:30:00")
    assert daily.next_after(at("2026-07-01T12:00:00")) == at("2026-07-02T07:30:00")


def test_where_the_clocks_change() -> None:
    skipped = parse_schedule("30 2 * * *", BERLIN)
    assert skipped.next_after(at("2026-03-28T12:00:00")) == at("2026-03-29T01:00:00")
    twice = parse_schedule("30 2 * * *", BERLIN)
    first = twice.next_after(at("2026-10-24T12:00:00"))
    assert first == at("2026-10-25T00:30:00")
    assert twice.next_after(first) == at("2026-10-26T01:30:00")


@pytest.mark.parametrize(
    ("schedule", "earliest", "now", "last"),
    [
        ("*/5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:12:00", "2026-01-01T00:10:00"),
        ("*/5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:10:00", "2026-01-01T00:10:00"),
        ("*/5 * * * *", "2026-01-01T00:10:00", "2026-01-01T00:12:00", None),
        ("*/5 * * * *", "2020-01-01T00:10:00", "2026-01-01T00:12:00", "2026-01-01T00:10:00"),
        ("@every 1h", "2026-01-01T00:10:00", "2026-01-01T03:09:00", "2026-01-01T02:10:00"),
        ("@every 1h", "2026-01-01T00:10:00", "2026-01-01T01:09:00", None),
    ],
)
def test_the_last_time(schedule: str, earliest: str, now: str, last: str | None) -> None:
    found = parse_schedule(schedule).last_until(at(earliest), at(now))
    assert found == (at(last) if last else None)


def test_missed_times_are_counted_up_to_a_limit() -> None:
    minutely = parse_schedule("* * * * *")
    start = at("2026-01-01T00:00:00")
    assert minutely.count(start, at("2026-01-01T00:07:30"), 100) == 7
    assert minutely.count(start, at("2027-01-01T00:00:00"), 101) == 101


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("* * *", "expected exactly 5 fields, found 3"),
        ("60 * * * *", "above maximum"),
        ("* * 0 * *", "below minimum"),
        ("* * * * 7", "above maximum"),
        ("* * L * *", "failed to parse"),
        ("* * * * 1#2", "failed to parse"),
        ("5-1 * * * *", "beginning of range"),
        ("*/0 * * * *", "positive number"),
        ("a * * * *", "failed to parse"),
        ("feb * * * *", "failed to parse int"),
        ("@reboot", "unrecognized descriptor"),
        ("@every soon", "invalid duration"),
        ("1, * * * *", "failed to parse"),
        ("\u0661 * * * *", "failed to parse"),
    ],
)
def test_what_is_no_schedule(schedule: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_schedule(schedule)
