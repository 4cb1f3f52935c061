import pytest

from knarr.resources.duration import format_duration, parse_duration, parse_duration_ns


@pytest.mark.parametrize(
    ("text", "nanoseconds", "shown"),
    [
        ("0", 0, "0s"),
        ("0s", 0, "0s"),
        ("1s", 10**9, "1s"),
        ("1m30s", 90 * 10**9, "1m30s"),
        ("1.5h", 5400 * 10**9, "1h30m0s"),
        ("-10ms", -(10**7), "-10ms"),
        ("+2s", 2 * 10**9, "2s"),
        ("100us", 100_000, "100µs"),
        ("100µs", 100_000, "100µs"),
        ("1h0.5s", 3600 * 10**9 + 5 * 10**8, "1h0m0.5s"),
        ("7ns", 7, "7ns"),
        ("61s", 61 * 10**9, "1m1s"),
    ],
)
def test_durations(text: str, nanoseconds: int, shown: str) -> None:
    assert parse_duration_ns(text) == nanoseconds
    assert format_duration(nanoseconds) == shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", 'time: invalid duration ""'),
        ("x", 'time: invalid duration "x"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1m5", 'time: missing unit in duration "1m5"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_what_is_no_duration(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^time: ") as refusal:
        parse_duration_ns(text)
    assert str(refusal.value) == problem


def test_seconds() -> None:
    assert parse_duration("250ms") == 0.25
