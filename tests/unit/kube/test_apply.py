import pytest

from knarr.kube.apply import covers, merge_diff, plan_apply


@pytest.mark.parametrize(
    ("actual", "desired", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ({"l": [{"name": "x", "extra": 1}]}, {"l": [{"name": "x"}]}, True),
        ({"l": [{"name": "x"}, {"name": "y"}]}, {"l": [{"name": "x"}]}, False),
        ({"l": None}, {"l": []}, False),
        (1, {"a": 1}, False),
        ([1], [1], True),
    ],
)
def test_covers(actual, desired, expected):
    assert covers(actual, desired) is expected


def test_a_cover_keeps_what_the_server_added_and_replaces_lists_whole():
    actual = {
        "replicas": 3,
        "template": {"containers": [{"name": "x", "policy": "Always"}], "dns": 1},
    }
    desired = {"template": {"containers": [{"name": "y"}]}}

    assert merge_diff(actual, desired, exact=False) == {"template": {"containers": [{"name": "y"}]}}


def test_an_exact_diff_removes_what_is_no_longer_wanted():
    actual = {"rules": [1], "old": {"a": 1}, "same": {"keep": 1, "drop": 2}}
    desired = {"rules": [1], "same": {"keep": 1}}

    assert merge_diff(actual, desired, exact=True) == {"old": None, "same": {"drop": None}}


def test_a_right_child_needs_no_patch():
    actual = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {
            "name": "a",
            "uid": "1",
            "resourceVersion": "5",
            "labels": {"a": "b", "other": "c"},
        },
        "spec": {"x": 1, "defaulted": True},
        "status": {"phase": "fine"},
    }
    desired = {"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"x": 1}}

    assert plan_apply(actual, desired, exact=False) == {}


def test_a_patch_carries_the_version_it_was_computed_from():
    actual = {"metadata": {"resourceVersion": "5"}, "spec": {"x": 1}, "data": {"k": "v"}}
    desired = {"metadata": {"annotations": {"n": "1"}}, "spec": {"x": 2}, "data": {"k": "v"}}

    assert plan_apply(actual, desired, exact=False) == {
        "metadata": {"annotations": {"n": "1"}, "resourceVersion": "5"},
        "spec": {"x": 2},
    }
