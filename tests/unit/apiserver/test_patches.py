"""The three patches as pure functions."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.patches.jsonpatch import json_patch, parse_pointer
from knarr.apiserver.patches.merge import merge_patch
from knarr.apiserver.patches.strategic import strategic_merge
from knarr.apiserver.protobuf.wire import WireTables
from knarr.meta.errors import BadRequest, Invalid, TooLarge

TABLE = WireTables().get()
POD = "core/v1.Pod"


# The examples of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(document, patch, result):
    before = copy.deepcopy((document, patch))
    assert merge_patch(document, patch) == result
    assert (document, patch) == before


# After the examples of RFC 6902, appendix A.
@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "q"}], {"baz": "q", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "q"}], {"foo": ["bar", "q", "baz"]}),
        ({"baz": "q", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["a", "b", "c"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "c"]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
        ({"foo": {"bar": "b", "w": "f"}, "q": {}}, [{"op": "move", "from": "/foo/w", "path": "/q/t"}], {"foo": {"bar": "b"}, "q": {"t": "f"}}),
        ({"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}], {"foo": ["all", "cows", "eat", "grass"]}),
        ({"a": ["x"]}, [{"op": "add", "path": "/a/-", "value": ["y"]}], {"a": ["x", ["y"]]}),
        ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"": 1, "/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}, {"op": "test", "path": "/~1", "value": 9}, {"op": "test", "path": "/", "value": 1}], {"": 1, "/": 9, "~1": 10}),
        ({"a": {"b": [1]}}, [{"op": "copy", "from": "/a", "path": "/c"}, {"op": "add", "path": "/c/b/-", "value": 2}], {"a": {"b": [1]}, "c": {"b": [1, 2]}}),
        ({"a": 1.0}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1.0}),
        ({"a": [1]}, [{"op": "replace", "path": "/a/0", "value": 3}], {"a": [3]}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {}}], {}),
    ],
)  # fmt: skip
def test_json_patch(document, patch, result):
    before = copy.deepcopy((document, patch))
    assert json_patch(document, patch) == result
    assert (document, patch) == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nope"},
        {"op": "remove", "path": ""},
        {"op": "replace", "path": "/nope", "value": 1},
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"op": "add", "path": "/l/5", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/s/x", "value": 1},
        {"op": "test", "path": "/a", "value": {"x": 2}},
        {"op": "test", "path": "/t", "value": 1},
        {"op": "copy", "from": "/nope", "path": "/x"},
        {"op": "move", "from": "/a", "path": "/a/x"},
        {"op": "remove", "path": "/l/-"},
    ],
)
def test_json_patch_that_does_not_fit_is_422(operation):
    with pytest.raises(Invalid, match="operation 0"):
        json_patch({"a": {"x": 1}, "l": [1], "s": "text", "t": True}, [operation])


@pytest.mark.parametrize(
    "patch",
    [
        {}, ["x"], [{"op": "jump", "path": "/a"}], [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": "/a"}], [{"op": "add", "value": 1}], [{"op": "move", "path": "/a"}],
    ],
)  # fmt: skip
def test_malformed_json_patch_is_400(patch):
    with pytest.raises(BadRequest):
        json_patch({"a": 1}, patch)


def test_json_patch_is_bounded():
    doubling = [{"op": "copy", "from": "", "path": f"/x{n}"} for n in range(40)]
    with pytest.raises(TooLarge):
        json_patch({"a": "b"}, doubling)
    with pytest.raises(TooLarge):
        json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)


def test_pointers():
    assert parse_pointer("") == []
    assert parse_pointer("/a~1b/~0/") == ["a/b", "~", ""]


def pod(*containers, **spec):
    return {"spec": {"containers": list(containers), **spec}}


def merged(document, patch, message=POD):
    before = copy.deepcopy((document, patch))
    result = strategic_merge(document, patch, TABLE, message)
    assert (document, patch) == before
    return result


def test_strategic_lists_merge_by_key():
    document = pod({"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"})
    patch = pod({"name": "a", "env": [{"name": "Y", "value": "2"}]})
    assert merged(document, patch) == pod(
        {
            "name": "a", "image": "1",
            "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}],
        },
        {"name": "b"},
    )  # fmt: skip


def test_new_items_come_first_without_an_order():
    assert merged(pod({"name": "a"}), pod({"name": "b"})) == pod({"name": "b"}, {"name": "a"})


def test_order_directive():
    document = pod({"name": "a"}, {"name": "b"}, {"name": "extra"})
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}],
            "containers": [{"name": "new", "image": "i"}],
        }
    }
    assert merged(document, patch) == pod(
        {"name": "b"}, {"name": "extra"}, {"name": "new", "image": "i"}, {"name": "a"}
    )


def test_delete_and_replace_directives():
    document = pod({"name": "a"}, {"name": "b", "image": "i"})
    assert merged(document, pod({"name": "a", "$patch": "delete"})) == pod(
        {"name": "b", "image": "i"}
    )
    assert merged(
        document, {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}
    ) == pod({"name": "z"})
    assert merged(document, {"spec": {"$patch": "replace", "nodeName": "n"}}) == {
        "spec": {"nodeName": "n"}
    }
    assert merged({"data": {"a": "1"}}, {"data": {"$patch": "delete"}}, "core/v1.ConfigMap") == {
        "data": {}
    }
    assert merged({"data": {"a": "1"}}, {"data": None}, "core/v1.ConfigMap") == {}


def test_scalars_in_sets():
    document = {"metadata": {"finalizers": ["a", "b"]}}
    assert merged(document, {"metadata": {"finalizers": ["c", "a"]}}) == {
        "metadata": {"finalizers": ["c", "a", "b"]}
    }
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}
    assert merged(document, patch) == {"metadata": {"finalizers": ["c", "b"]}}
    patch = {"metadata": {"$setElementOrder/finalizers": ["c", "b", "a"], "finalizers": ["c"]}}
    assert merged(document, patch) == {"metadata": {"finalizers": ["c", "b", "a"]}}


def test_retain_keys():
    document = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert merged(document, patch, "apps/v1.Deployment") == {
        "spec": {"strategy": {"type": "Recreate"}}
    }
    volumes = pod(volumes=[{"name": "v", "emptyDir": {}}])
    patch = {
        "spec": {
            "volumes": [
                {"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}
            ]
        }
    }
    assert merged(volumes, patch)["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]


def test_other_lists_are_replaced():
    document = pod({"name": "a", "command": ["x", "y"]}, tolerations=[{"key": "a"}])
    patch = pod({"name": "a", "command": ["z"]}, tolerations=[{"key": "b"}])
    result = merged(document, patch)
    assert result["spec"]["containers"] == [{"name": "a", "command": ["z"]}]
    assert result["spec"]["tolerations"] == [{"key": "b"}]


def test_service_ports_merge_by_port_and_owners_by_uid():
    document = {"spec": {"ports": [{"port": 80, "name": "a"}]}}
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81}]}}
    assert merged(document, patch, "core/v1.Service")["spec"]["ports"] == [
        {"port": 80, "name": "a", "targetPort": 8080}, {"port": 81},
    ]  # fmt: skip
    document = {"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}
    patch = {"metadata": {"ownerReferences": [{"uid": "1", "$patch": "delete"}]}}
    assert merged(document, patch)["metadata"]["ownerReferences"] == []


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"$patch": "explode"}},
        {"spec": {"containers": [{"image": "i"}]}},
        {"spec": {"containers": ["x"]}},
        {"spec": {"containers": [{"name": "a", "$retainKeys": "x"}]}},
        {"spec": {"$setElementOrder/containers": "x", "containers": []}},
    ],
)
def test_malformed_strategic_patches_are_400(patch):
    with pytest.raises(BadRequest):
        strategic_merge(pod({"name": "a"}), patch, TABLE, POD)


NAMES = st.sampled_from("abcd")
DOCUMENTS = st.recursive(
    st.integers(0, 3) | NAMES,
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(NAMES, DOCUMENTS, max_size=3)


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_merge_patch_is_idempotent_and_reaches_its_target(document, patch):
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_without_a_known_type_strategic_is_a_merge_patch(document, patch):
    assert strategic_merge(document, patch, TABLE, None) == merge_patch(document, patch)


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_replacing_everything_by_json_patch(document, target):
    operations = [{"op": "remove", "path": f"/{name}"} for name in document]
    operations += [{"op": "add", "path": f"/{name}", "value": target[name]} for name in target]
    assert json_patch(document, operations) == target
