"""JSON and YAML texts: accepted or refused, never repaired, never a crash."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.jsontext import parse_json, parse_yaml
from knarr.meta.errors import BadRequest

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "data" / "json-parsing"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the JSON corpus is not here")


# Valid JSON that is refused on purpose: a key that occurs twice has no meaning in the API.
DUPLICATES = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


def corpus(prefix):
    return sorted(CORPUS.glob(f"{prefix}_*.json")) if CORPUS.is_dir() else []


@needs_corpus
@pytest.mark.parametrize("parse", [parse_json])
def test_what_must_be_accepted_is(parse):
    files = corpus("y")
    assert len(files) > 50
    for file in files:
        if file.name in DUPLICATES:
            with pytest.raises(BadRequest, match="duplicate field 'a'"):
                parse(file.read_bytes())
        else:
            parse(file.read_bytes())


@needs_corpus
def test_what_must_be_refused_is():
    files = corpus("n")
    assert len(files) > 100
    for file in files:
        with pytest.raises(BadRequest):
            parse_json(file.read_bytes())


@needs_corpus
def test_nothing_crashes_either_parser():
    for file in [*corpus("i"), *corpus("n"), *corpus("y")]:
        for parse in (parse_json, parse_yaml):
            with contextlib.suppress(BadRequest):
                parse(file.read_bytes())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1.0", 1.0), ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", 9.223372036854775808e18), ('"\\u00e9"', "é"), ("null", None),
    ],
)  # fmt: skip
def test_numbers_keep_their_kind(text, value):
    parsed = parse_json(text.encode())
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "Infinity", "-Infinity", "NaN", '"\\ud800"'])
def test_values_outside_json_are_refused(text):
    with pytest.raises(BadRequest, match="not valid JSON"):
        parse_json(text.encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 'y', \"z\"]", {"a": 1, "b": ["x", "y", "z"]}),
        ("a: yes\nb: 'yes'\nc: ~\nd:", {"a": True, "b": "yes", "c": None, "d": None}),
        ("a: 2026-01-01T00:00:00Z", {"a": "2026-01-01T00:00:00Z"}),
        ("a: 0x10\nb: 010\nc: 1_000\nd: 1e3\ne: .5", {"a": 16, "b": 8, "c": 1000, "d": 1000.0, "e": 0.5}),
        ("1: x\ntrue: y", {"1": "x", "true": "y"}),
        ("a: &x {k: v}\nb: *x", {"a": {"k": "v"}, "b": {"k": "v"}}),
        ("t: |\n  one\n  two\n", {"t": "one\ntwo\n"}),
        ('{"json": [1, true, null]}', {"json": [1, True, None]}),
        ("", None),
    ],
)  # fmt: skip
def test_yaml_reads_as_kubernetes_reads_it(text, value):
    assert parse_yaml(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\na: 2", "duplicate field 'a', line 2"),
        ("a: !!python/object/apply:os.system [x]", "tag"),
        ("a: !custom x", "tag"),
        ("a: 1\n---\nb: 2", "document"),
        ("{[1]: x}", "a key is not a scalar"),
        ("a: .nan", "not a JSON value"),
        ("a: [", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("[" * 70 + "]" * 70, "nested more than 64 levels"),
        ("a: &a [x]\n" + "\n".join(f"b{n}: *a" for n in range(70)), "aliases"),
        ("<<: {a: b}\n<<: {c: d}", "duplicate|tag"),
    ],
)  # fmt: skip
def test_yaml_refuses(text, why):
    with pytest.raises(BadRequest) as caught:
        parse_yaml(text.encode())
    assert any(part in caught.value.message for part in why.split("|"))


def test_yaml_bombs_are_cheap():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 7)]
    with pytest.raises(BadRequest, match="too large after its aliases"):
        parse_yaml("\n".join(lines).encode())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(JSON_VALUES)
def test_encoding_and_parsing_are_inverse(value):
    import msgspec

    parsed = parse_json(msgspec.json.encode(value))
    assert repr(parsed) == repr(value)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_bad_request(data):
    for parse in (parse_json, parse_yaml):
        with contextlib.suppress(BadRequest):
            parse(data)
