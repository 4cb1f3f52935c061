import pytest

from knarr.apiserver.structural import (
    BadPath,
    PathFailure,
    find,
    parse_columns,
    parse_path,
    written,
)
from knarr.apiserver.structural.paths import read

DOCUMENT = {
    "spec": {
        "name": "x",
        "n": 3,
        "list": [1, 2, 3, 4],
        "items": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"b": "z"}],
        "a.b": "dotted",
        "weird key": 1,
        "null": None,
    },
    "metadata": {"annotations": {"example.com/name": "v"}},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Ok"},
            {"type": "Live", "status": "False"},
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.name", ["x"]),
        ("$.spec.name", ["x"]),
        (".spec['name']", ["x"]),
        (r".spec['weird\ key']", [1]),
        (".spec.a\\.b", ["dotted"]),
        (".metadata.annotations.example\\.com/name", ["v"]),
        (r".metadata.annotations['example\.com/name']", ["v"]),
        (".metadata.annotations['example.com/name']", []),
        (".spec.list[0]", [1]),
        (".spec.list[-1]", [4]),
        (".spec.list[1:3]", [2, 3]),
        (".spec.list[:2]", [1, 2]),
        (".spec.list[2:]", [3, 4]),
        (".spec.list[0:4:2]", [1, 3]),
        (".spec.list[-2:]", [3, 4]),
        (".spec.list[1:1]", []),
        (".spec.list[*]", [1, 2, 3, 4]),
        (".spec.items[*].a", [1, 2]),
        (".spec.items[0,1].b", ["x", "y"]),
        (".spec['name','n']", ["x", 3]),
        (".status.conditions[?(@.type=='Ready')].status", ["True"]),
        ('.status.conditions[?(@.type=="Ready")].reason', ["Ok"]),
        ('.status.conditions[?(@.type == "None")].status', []),
        ('.status.conditions[?(@.type!="Ready")].type', ["Live"]),
        (".status.conditions[?(@.reason)].type", ["Ready"]),
        (".spec.items[?(@.a>1)].b", ["y"]),
        (".spec.items[?(@.a<=1)].b", ["x"]),
        (".spec.items[?(@.a>=1.5)].b", ["y"]),
        ('.spec.items[?(@.b<"y")].b', ["x"]),
        ('.status.conditions[?(@.type=="a)b")]', []),
        ("..a", [1, 2]),
        (".spec..b", ["x", "y", "z"]),
        (".spec.missing.deeper", []),
        (".missing[0]", []),
        (".missing[?(@.a)]", []),
        (".spec.null", [None]),
        (".spec.null[0]", []),
        (".spec.name.sub", []),
        (".status.conditions[*].type", ["Ready", "Live"]),
    ],
)
def test_find(path, expected):
    assert find(DOCUMENT, parse_path(path)) == expected


def test_wildcards_over_objects():
    assert find({"a": {"x": 1, "y": 2}}, parse_path(".a.*")) == [1, 2]


@pytest.mark.parametrize(
    "path",
    [
        "name", ".a[", ".a[x]", ".a[?(@.b]", ".a[?(@.b)", ".a....b", ".a[?(@.b=~1)]", ".a[]", "{.a}",
        ".a[?(@.b=='c)]", ".a" * 5_000,
    ],
)  # fmt: skip
def test_malformed(path):
    with pytest.raises(BadPath):
        parse_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".spec.list[9]", ".spec.list[-9]", ".spec.name[0]", ".spec.name[?(@.a)]", ".spec.list[3:1]",
        ".spec.list[0:9]", ".spec.list[0:4:0]", '.spec.items[?(@.a=="x")]',
        ".spec.items[?(@..b==1)].a", ".status.conditions[?(@.type>1)]",
    ],
)  # fmt: skip
def test_cannot_be_followed(path):
    with pytest.raises(PathFailure):
        find(DOCUMENT, parse_path(path))


def test_too_many_results():
    with pytest.raises(PathFailure, match="more than"):
        find([0] * 20_000, parse_path("[*]"))


def column(path, kind):
    return parse_columns([{"name": "C", "type": kind, "jsonPath": path}])[0]


def cell(path, kind, document=None, now=0.0):
    return column(path, kind).cell(document or DOCUMENT, now, lambda seconds: f"{seconds:.0f}s")


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        (".spec.name", "string", "x"),
        (".spec.n", "string", "3"),
        (".spec.n", "integer", 3),
        (".spec.n", "number", 3.0),
        (".spec.name", "integer", None),
        (".spec.name", "boolean", None),
        (".spec.items[0]", "string", '{"a":1,"b":"x"}'),
        (".spec.null", "string", "<no value>"),
        (".spec.missing", "string", None),
        (".spec.list[9]", "string", None),
        (".spec.name", "date", "<invalid>"),
        (".spec.n", "date", None),
        (".spec.name", "odd", None),
    ],
)
def test_cells(path, kind, expected):
    assert cell(path, kind) == expected


def test_more_cells():
    assert cell(".a", "integer", {"a": 2.9}) == 2
    assert cell(".a", "boolean", {"a": True}) is True
    assert cell(".a", "string", {"a": True}) == "true"
    assert cell(".a", "integer", {"a": True}) is None
    assert cell(".a", "date", {"a": ""}) == "<unknown>"
    assert cell(".a", "date", {"a": "1970-01-01T00:00:10Z"}, now=15) == "5s"


def test_columns():
    columns = parse_columns(
        [
            {"name": "A", "type": "string", "jsonPath": ".a", "priority": 1, "format": "date"},
            {"name": "B", "type": "integer", "jsonPath": ".b", "description": "text"},
        ]
    )
    assert columns[0].description == "Custom resource definition column (in JSONPath format): .a"
    assert (columns[0].priority, columns[0].format) == (1, "date")
    assert columns[1].description == "text"
    age = parse_columns(None)[0]
    assert age.name == "Age"
    created = {"metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"}}
    assert age.cell(created, 7.0, lambda seconds: f"{seconds:.0f}s") == "7s"


def test_simple_paths():
    assert read({"a": {"b": 1}}, ".a.b") == 1
    assert read({}, ".a.b") is None
    with pytest.raises(TypeError):
        read({"a": 1}, ".a.b")
    assert written({"a": {"c": 2}}, ".a.b", 1) == {"a": {"b": 1, "c": 2}}
    assert written({}, ".a.b", 1) == {"a": {"b": 1}}
    with pytest.raises(TypeError):
        written({"a": 3}, ".a.b", 1)
