import pytest

from knarr.apiserver.fieldmanagement import (
    SCALAR,
    UNTYPED,
    FieldSet,
    ListRule,
    MapRule,
    MergeProblem,
    MergeSchema,
    compare,
    decode_set,
    encode_set,
    field_set,
    merge,
    reconcile,
    remove,
)
from knarr.apiserver.fieldmanagement.documents import same, with_named_fields

ITEM = MergeSchema(
    map=MapRule(fields={"name": SCALAR, "port": SCALAR, "protocol": SCALAR, "value": SCALAR})
)
SCHEMA = MergeSchema(
    map=MapRule(
        fields={
            "count": SCALAR,
            "labels": MergeSchema(map=MapRule(values=SCALAR)),
            "selector": MergeSchema(map=MapRule(values=SCALAR, atomic=True)),
            "args": MergeSchema(list=ListRule(items=SCALAR)),
            "finalizers": MergeSchema(list=ListRule("set", items=SCALAR)),
            "env": MergeSchema(list=ListRule("map", ("name",), items=ITEM)),
            "ports": MergeSchema(
                list=ListRule("map", ("port", "protocol"), {"protocol": "TCP"}, ITEM)
            ),
            "free": UNTYPED,
        }
    )
)


def fields_of(document, **options):
    return encode_set(field_set(document, SCHEMA, **options))


def test_paths_of_a_document():
    document = {
        "count": 1,
        "labels": {"a": "1"},
        "selector": {"x": "y"},
        "args": ["a"],
        "finalizers": ["f"],
        "ports": [{"port": 80}],
    }
    assert fields_of(document) == {
        "f:count": {},
        "f:labels": {"f:a": {}},
        "f:selector": {},
        "f:args": {},
        "f:finalizers": {'v:"f"': {}},
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
    }


def test_empty_and_null_values():
    assert fields_of({"labels": {}, "finalizers": [], "args": [], "env": None, "count": None}) == {
        "f:labels": {},
        "f:args": {},
        "f:env": {},
        "f:count": {},
    }
    assert fields_of({"finalizers": []}, empty_lists=True) == {"f:finalizers": {}}


def test_untyped_parts_own_their_containers():
    assert fields_of({"free": {"a": {"b": 1}, "l": [1]}}) == {
        "f:free": {"f:a": {".": {}, "f:b": {}}, "f:l": {}}
    }


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"nope": 1}, ".nope: field not declared in schema"),
        ({"count": {}}, ".count: expected scalar, got map"),
        ({"labels": [1]}, ".labels: expected map, got list"),
        ({"env": "x"}, ".env: expected list, got scalar"),
        ({"selector": {"a": {"b": 1}}}, ".selector.a: expected scalar, got map"),
        ({"args": [["x"]]}, ".args[0]: expected scalar, got list"),
        ({"finalizers": ["a", "a"]}, '.finalizers: duplicate entries for key [="a"]'),
        ({"finalizers": [None]}, ".finalizers: element 0: "),
        ({"finalizers": [{}]}, ".finalizers: element 0: "),
        ({"finalizers": [[]]}, ".finalizers: element 0: "),
        ({"env": [{"value": 1}]}, ".env: element 0: "),
        ({"env": [None]}, ".env: element 0: "),
        ({"env": [{"name": "a", "x": 1}]}, '.env[name="a"].x: field not declared in schema'),
    ],
)
def test_what_an_applied_document_may_not_have(document, message):
    with pytest.raises(MergeProblem) as caught:
        field_set(document, SCHEMA, strict=True)
    assert str(caught.value).startswith(message)


def changes(old, new):
    found = compare(old, new, SCHEMA)
    return tuple(encode_set(part) for part in found)


def test_a_scalar_changes():
    assert changes({"count": 1}, {"count": 2}) == ({}, {"f:count": {}}, {})
    assert changes({"count": 1}, {"count": 1.0}) == ({}, {}, {})
    assert changes({"count": 1}, {"count": True}) == ({}, {"f:count": {}}, {})


def test_a_new_map_is_added_with_itself():
    assert changes({}, {"labels": {"a": "1"}}) == ({"f:labels": {".": {}, "f:a": {}}}, {}, {})
    assert changes({"labels": {}}, {"labels": {"a": "1"}}) == ({"f:labels": {"f:a": {}}}, {}, {})
    assert changes({"labels": {"a": "1"}}, {}) == ({}, {}, {"f:labels": {".": {}, "f:a": {}}})


def test_atomic_parts_change_whole():
    assert changes(
        {"args": ["a"], "selector": {"a": 1}}, {"args": ["b"], "selector": {"b": 1}}
    ) == (
        {},
        {"f:args": {}, "f:selector": {}},
        {},
    )


def test_items_are_compared_by_their_keys():
    old = {"env": [{"name": "a", "value": 1}, {"name": "b"}], "finalizers": ["x", "y"]}
    new = {"env": [{"name": "b"}, {"name": "a", "value": 2}], "finalizers": ["y", "z"]}
    assert changes(old, new) == (
        {"f:finalizers": {'v:"z"': {}}},
        {"f:env": {'k:{"name":"a"}': {"f:value": {}}}},
        {"f:finalizers": {'v:"x"': {}}},
    )


def test_order_of_items_is_no_change():
    assert not compare({"finalizers": ["a", "b"]}, {"finalizers": ["b", "a"]}, SCHEMA)


def test_duplicates_are_compared_together():
    twice = {"finalizers": ["a", "a"]}
    assert changes(twice, {"finalizers": ["a"]}) == (
        {"f:finalizers": {'v:"a"': {}}},
        {},
        {"f:finalizers": {'v:"a"': {}}},
    )
    assert changes({"finalizers": ["a"]}, twice) == (
        {"f:finalizers": {'v:"a"': {}}},
        {},
        {"f:finalizers": {'v:"a"': {}}},
    )
    more = {"finalizers": ["a", "a", "a"]}
    assert changes(twice, more) == ({}, {"f:finalizers": {'v:"a"': {}}}, {})


def test_a_change_of_shape():
    assert changes({"free": {"a": 1}}, {"free": 2}) == ({}, {"f:free": {}}, {"f:free": {"f:a": {}}})
    assert changes({"free": 2}, {"free": {"a": 1}}) == ({"f:free": {"f:a": {}}}, {"f:free": {}}, {})


def test_merge_keeps_what_the_configuration_does_not_name():
    live = {"count": 1, "labels": {"a": "1"}, "args": ["x"], "selector": {"a": 1}}
    config = {"labels": {"b": "2"}, "args": ["y"], "selector": {"b": 1}}
    assert merge(live, config, SCHEMA) == {
        "count": 1,
        "labels": {"a": "1", "b": "2"},
        "args": ["y"],
        "selector": {"b": 1},
    }
    assert live["labels"] == {"a": "1"}


@pytest.mark.parametrize(
    ("live", "config", "result"),
    [
        ("abc", "d", "abcd"),
        ("abc", "cb", "acb"),
        ("abc", "xb", "axbc"),
        ("abc", "bx", "abcx"),
        ("", "ba", "ba"),
        ("ab", "", "ab"),
        ("abcd", "dxa", "bcdxa"),
    ],
)
def test_order_of_merged_items(live, config, result):
    merged = merge({"finalizers": list(live)}, {"finalizers": list(config)}, SCHEMA)
    assert "".join(merged["finalizers"]) == result


def test_keyed_items_are_merged():
    live = {"ports": [{"port": 80, "value": 1}, {"port": 80, "protocol": "UDP"}]}
    config = {"ports": [{"port": 80, "protocol": "TCP", "name": "http"}]}
    assert merge(live, config, SCHEMA) == {
        "ports": [
            {"port": 80, "value": 1, "protocol": "TCP", "name": "http"},
            {"port": 80, "protocol": "UDP"},
        ]
    }


def test_merge_over_duplicates():
    live = {"env": [{"name": "a", "value": 1}, {"name": "b"}, {"name": "a", "value": 2}]}
    assert merge(live, {"env": [{"name": "a", "value": 3}]}, SCHEMA) == {
        "env": [{"name": "a", "value": 3}, {"name": "b"}]
    }
    assert merge(live, {"env": [{"name": "c"}]}, SCHEMA)["env"] == [*live["env"], {"name": "c"}]
    with pytest.raises(MergeProblem, match="duplicate entries"):
        merge({"env": [{"name": "x"}]}, {"env": [{"name": "a"}, {"name": "a"}]}, SCHEMA)


def test_null_and_empty():
    assert merge({"labels": {"a": 1}}, {"labels": None}, SCHEMA) == {"labels": {"a": 1}}
    assert merge({"labels": {"a": 1}}, {"labels": {}}, SCHEMA) == {"labels": {"a": 1}}
    assert merge({"labels": {}}, {"labels": None}, SCHEMA) == {"labels": None}
    assert merge({"count": 1}, {"count": None}, SCHEMA) == {"count": None}
    assert merge({"finalizers": ["a"]}, {"finalizers": None}, SCHEMA) == {"finalizers": ["a"]}
    assert merge({"free": [1]}, {"free": {"a": 1}}, SCHEMA) == {"free": {"a": 1}}


def test_remove():
    document = {
        "count": 1,
        "labels": {"a": 1, "b": 2},
        "args": ["x"],
        "env": [{"name": "a", "value": 1}, {"name": "b"}],
    }
    gone = decode_set(
        {
            "f:labels": {"f:a": {}},
            "f:args": {"i:0": {}},
            "f:env": {'k:{"name":"a"}': {"f:value": {}}, 'k:{"name":"b"}': {}},
            "f:missing": {},
        }
    )
    assert remove(document, gone, SCHEMA) == {
        "count": 1,
        "labels": {"b": 2},
        "args": ["x"],
        "env": [{"name": "a"}],
    }
    assert remove({"labels": {"a": 1}}, decode_set({"f:labels": {"f:a": {}}}), SCHEMA) == {
        "labels": {}
    }


def test_named_fields_lead_to_members():
    fields = decode_set({"f:labels": {"f:a": {}}, "f:free": {"f:x": {"f:y": {}}}})
    assert encode_set(with_named_fields(fields, SCHEMA)) == {
        "f:labels": {".": {}, "f:a": {}},
        "f:free": {".": {}, "f:x": {"f:y": {}}},
    }


def test_reconcile_with_a_schema_that_became_atomic():
    fields = decode_set(
        {
            "f:selector": {"f:a": {}},
            "f:args": {"i:0": {}},
            "f:labels": {"f:a": {}},
            "f:nope": {"f:b": {}},
        }
    )
    assert encode_set(reconcile(fields, SCHEMA)) == {
        "f:selector": {},
        "f:args": {},
        "f:labels": {"f:a": {}},
        "f:nope": {"f:b": {}},
    }
    granular = FieldSet.of_fields("labels")
    assert reconcile(granular, SCHEMA) is granular


def test_same():
    assert same({"a": [1, 1.0]}, {"a": [1.0, 1]})
    assert not same({"a": [1]}, {"a": [True]})
    assert not same(True, 1)
    assert same(None, None)
    assert not same({"a": None}, {})
