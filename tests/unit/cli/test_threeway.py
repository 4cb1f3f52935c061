"""The three-way merge of apply."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.cli.threeway import three_way_patch


@pytest.mark.parametrize(
    ("last", "desired", "live", "patch"),
    [
        pytest.param({}, {"a": 1}, {"a": 1}, {}, id="nothing differs"),
        pytest.param({}, {"a": 1}, {}, {"a": 1}, id="a field is added"),
        pytest.param({"a": 1}, {}, {"a": 1}, {"a": None}, id="a field that apply once set is removed"),
        pytest.param({}, {}, {"b": 1}, {}, id="what others added stays"),
        pytest.param({"a": 1}, {}, {}, {}, id="what is gone already is not removed again"),
        pytest.param(
            {"m": {"x": 1, "y": 2}}, {"m": {"x": 3}}, {"m": {"x": 1, "y": 2, "z": 9}},
            {"m": {"x": 3, "y": None}}, id="maps merge",
        ),
        pytest.param({}, {"l": [1, 2]}, {"l": [1]}, {"l": [1, 2]}, id="lists are replaced"),
    ],
)  # fmt: skip
def test_patches(last: dict, desired: dict, live: dict, patch: dict) -> None:
    assert three_way_patch(last, desired, live) == patch


DOCUMENTS = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


def merged(target: dict, patch: dict) -> dict:
    """RFC 7386."""
    result = copy.deepcopy(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@given(DOCUMENTS, DOCUMENTS, DOCUMENTS)
def test_applying_twice_writes_once(last: dict, desired: dict, live: dict) -> None:
    after = merged(live, three_way_patch(last, desired, live))
    assert three_way_patch(desired, desired, after) == {}
