"""Label selectors: their grammar and what they match."""

import pytest

from knarr.meta.errors import BadRequest
from knarr.meta.selectors import parse_field_selector, parse_label_selector

LABELS = {"app": "x", "tier": "front", "ex.dev/size": "12", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True), ("app", True), ("!app", False), ("! app", False), ("!other", True), ("app=x", True),
        ("app = x", True), ("app==x", True), ("app!=x", False), ("other!=x", True), ("empty=", True), ("app=", False),
        ("app in (x)", True), ("app in(x , y)", True), ("app in (,x)", True), ("empty in ()", True), ("app notin (x)", False),
        ("other notin (x)", True), ("ex.dev/size>11", True), ("ex.dev/size > 12", False), ("ex.dev/size<13", True),
        ("app>1", False), ("other<1", False), ("app=x,tier=front,\n!other", True), ("app=x , tier=back", False),
    ],
)  # fmt: skip
def test_what_matches(text, expected):
    assert parse_label_selector(text).matches(LABELS) is expected


@pytest.mark.parametrize(
    "text",
    [
        ",", "app,", ",app", "a=b=c", "a b", "a in", "a in (b", "a in b)", "(a)", "!a=b", "!!a", "=b", ">1", "a>b", "a<", "a>1.5",
        "-a", "a=-b", "a=" + "x" * 64, "x" * 64, "a/b/c", "/a", "a/", "A_/a", "ü", "a=ü", "a in (b c)", "a=>1",
    ],
)  # fmt: skip
def test_what_is_no_selector(text):
    with pytest.raises(BadRequest, match="unable to parse requirement"):
        parse_label_selector(text)


def test_field_selectors_need_an_operator():
    assert parse_field_selector("a=1,b!=2").matches({"a": "1", "b": "1"}.get)
    with pytest.raises(BadRequest, match="can't understand"):
        parse_field_selector("a")
