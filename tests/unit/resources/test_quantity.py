from decimal import Decimal

import pytest

from knarr.resources.quantity import PATTERN_TEXT, canonical_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("100m", "100m"),
        ("0.1", "100m"),
        (".5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("1", "1"),
        ("1000", "1k"),
        ("1001", "1001"),
        ("1000M", "1G"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("1023Ki", "1023Ki"),
        ("0.1Ki", "102400m"),
        ("2e3", "2e3"),
        ("1e-3", "1e-3"),
        ("12E6", "12e6"),
        ("-1.5Gi", "-1536Mi"),
        ("0.5n", "1n"),
        (1, "1"),
        (0.25, "250m"),
    ],
)
def test_canonical_text(text: str | float, canonical: str) -> None:
    assert canonical_quantity(text) == canonical
    assert canonical_quantity(canonical) == canonical


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "1gi", "--1", "1e", "1.2.3", "Gi", "0x10"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match") as refusal:
        parse_quantity(text)
    assert str(refusal.value) == PATTERN_TEXT


def test_values() -> None:
    assert parse_quantity("250m").milli == 250
    assert parse_quantity("1.0001").milli == 1001
    assert parse_quantity("64Mi").whole == 64 * 1024 * 1024
    assert parse_quantity("100m").whole == 1
    assert parse_quantity("1Gi").value == parse_quantity("1024Mi").value == Decimal(2**30)


def test_huge_values_are_capped() -> None:
    assert parse_quantity("9e999999").whole == 2**63 - 1
