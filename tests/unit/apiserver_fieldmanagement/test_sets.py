import pytest

from knarr.apiserver.fieldmanagement import FieldSet, MergeProblem, decode_set, encode_set
from knarr.apiserver.fieldmanagement.elements import (
    key_element,
    parse_element,
    render_element,
    render_path,
    value_element,
)

FIELDS = {
    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
    "f:spec": {
        "f:ports": {
            ".": {},
            'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
        },
        "f:finalizers": {'v:"a"': {}, "v:1": {}},
        "f:args": {"i:0": {}},
    },
}


def test_round_trip():
    assert encode_set(decode_set(FIELDS)) == FIELDS
    assert decode_set({}) == FieldSet()
    assert not decode_set({})


def test_elements_are_canonical():
    assert parse_element('k:{"b": 1.0, "a": "x"}') == 'k:{"a":"x","b":1}'
    assert parse_element("v: 2") == "v:2"
    assert parse_element("i:03") == "i:3"
    assert key_element({"name": "a<b>&"}) == 'k:{"name":"a\\u003cb\\u003e\\u0026"}'
    assert value_element(True) == "v:true"
    assert value_element(1.5) == "v:1.5"


@pytest.mark.parametrize("text", ["", "f", "x:1", "k:[1]", "k:{", "v:", "i:x", "k:1", "v:NaN"])
def test_malformed_elements(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_element(text)


@pytest.mark.parametrize("document", [[], {"f:a": 1}, {"f:a": {"nope": {}}}, None])
def test_malformed_sets(document):
    with pytest.raises(ValueError, match=r".+"):
        decode_set(document)


def test_a_set_that_is_too_deep_is_refused():
    document: dict = {}
    for _ in range(300):
        document = {"f:a": document}
    with pytest.raises(ValueError, match="nested more than"):
        decode_set(document)


def test_render():
    path = ("f:spec", 'k:{"name":"a","port":80}', 'v:"x"', "i:2")
    assert render_path(path) == '.spec[name="a",port=80][="x"][2]'
    assert render_element("v:true") == "[=true]"


def test_algebra():
    left = FieldSet.of_fields("a", "a.b", "c.d")
    right = FieldSet.of_fields("a", "c.d.e")
    assert left | right == FieldSet.of_fields("a", "a.b", "c.d", "c.d.e")
    assert left & right == FieldSet.of_fields("a")
    assert left - right == FieldSet.of_fields("a.b", "c.d")
    assert left.without(right) == FieldSet.of_fields("c.d")
    assert left.has("f:a", "f:b")
    assert not left.has("f:c")
    assert not left.has("f:x", "f:y")
    assert len(left) == 3
    assert left.below("f:a") == FieldSet(FieldSet.of_fields("b").children, member=True)


def test_order_of_paths():
    fields = decode_set(
        {"f:b": {}, "f:a": {".": {}, "f:z": {}}, "v:2": {}, 'v:"x"': {}, "v:10": {}}
    )
    assert [render_path(path) for path in fields.paths()] == [
        ".a",
        ".b",
        "[=2]",
        "[=10]",
        '[="x"]',
        ".a.z",
    ]


def test_equal_elements_of_a_document_are_one():
    assert decode_set({"v:1": {"f:a": {}}, "v:1.0": {}}) == decode_set(
        {"v:1": {".": {}, "f:a": {}}}
    )


def test_a_problem_names_its_path():
    problem = MergeProblem("odd").under('k:{"name":"a"}').under("f:ports")
    assert str(problem) == '.ports[name="a"]: odd'
    assert str(MergeProblem("odd")) == "odd"
