"""JSON texts: what a strict reader of pairs would say, and quickly."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.apiserver.jsontext import parse_json
from knarr.meta.errors import BadRequest
from knarr.resources.quantity import canonical_quantity, parse_quantity

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", 'b":', "c"]), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_was_written_is_read(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(VALUES, st.sampled_from(["a", '":', ""]))
def test_a_key_that_comes_twice_is_refused_wherever_it_is(value, key):
    name = json.dumps(key)
    text = f"[{json.dumps(value)}, {{{name} : 1, {name}:{json.dumps(value)}}}]"
    with pytest.raises(BadRequest, match="duplicate field"):
        parse_json(text.encode())


@given(st.from_regex(r"[1-9][0-9]{0,6}(m|k|M|G|Ki|Mi|Gi|)", fullmatch=True))
def test_the_short_way_to_a_canonical_quantity(text):
    assert canonical_quantity(text) == str(parse_quantity(text))
