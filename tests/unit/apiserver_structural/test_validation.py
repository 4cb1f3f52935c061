import pytest

from knarr.apiserver.structural import list_errors, parse_schema, validate
from knarr.apiserver.structural.texts import NO_PATH, number, quoted, shown, text_of


def errors(document, schema, **options):
    return [text_of(error) for error in validate(document, parse_schema(schema), **options)]


def spec(**properties):
    return {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": properties}},
    }


def one(value, schema, **options):
    return errors({"spec": {"n": value}}, spec(n=schema), **options)


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("x", {"type": "integer"}, 'Invalid value: "string": spec.n in body must be of type integer: "string"'),
        (1.5, {"type": "integer"}, 'Invalid value: "number": spec.n in body must be of type integer: "number"'),
        (True, {"type": "integer"}, 'Invalid value: "boolean": spec.n in body must be of type integer: "boolean"'),
        (1, {"type": "boolean"}, 'Invalid value: "integer": spec.n in body must be of type boolean: "integer"'),
        ([], {"type": "object"}, 'Invalid value: "array": spec.n in body must be of type object: "array"'),
        ({}, {"type": "array", "items": {}}, 'Invalid value: "object": spec.n in body must be of type array: "object"'),
        (None, {"type": "string"}, 'Invalid value: "null": spec.n in body must be of type string: "null"'),
        (
            1.5,
            {"x-kubernetes-int-or-string": True},
            'Invalid value: "number": spec.n in body must be of type integer,string: "number"',
        ),
        ("c", {"type": "string", "enum": ["a", "b"]}, 'Unsupported value: "c": supported values: "a", "b"'),
        (3, {"type": "integer", "enum": [1, 2]}, 'Unsupported value: 3: supported values: "1", "2"'),
        ("abc", {"type": "string", "maxLength": 2}, "Too long: may not be more than 2 bytes"),
        ("ab", {"type": "string", "maxLength": 1}, "Too long: may not be more than 1 byte"),
        ("", {"type": "string", "minLength": 1}, 'Invalid value: "": spec.n in body should be at least 1 chars long'),
        ("B", {"type": "string", "pattern": "^a$"}, "Invalid value: \"B\": spec.n in body should match '^a$'"),
        (0, {"type": "integer", "minimum": 1}, "Invalid value: 0: spec.n in body should be greater than or equal to 1"),
        (9, {"type": "integer", "maximum": 5}, "Invalid value: 9: spec.n in body should be less than or equal to 5"),
        (
            1,
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
            "Invalid value: 1: spec.n in body should be greater than 1",
        ),
        (
            5.0,
            {"type": "number", "maximum": 5, "exclusiveMaximum": True},
            "Invalid value: 5: spec.n in body should be less than 5",
        ),
        (7, {"type": "integer", "multipleOf": 2}, "Invalid value: 7: spec.n in body should be a multiple of 2"),
        ([1], {"type": "array", "items": {"type": "integer"}, "minItems": 2}, "Invalid value: 1: spec.n in body should have at least 2 items"),
        ([1, 2], {"type": "array", "items": {"type": "integer"}, "maxItems": 1}, "Too many: 2: must have at most 1 item"),
        ({}, {"type": "object", "minProperties": 1}, "Invalid value: 0: spec.n in body should have at least 1 properties"),
        ({"a": 1, "b": 1}, {"type": "object", "maxProperties": 1}, "Too many: 2: must have at most 1 item"),
        ("no", {"type": "string", "format": "date-time"}, 'Invalid value: "no": spec.n in body must be of type date-time: "no"'),
        ("!", {"type": "string", "format": "byte"}, 'Invalid value: "!": spec.n in body must be of type byte: "!"'),
    ],
)  # fmt: skip
def test_one_problem(value, schema, expected):
    assert one(value, schema) == [f"spec.n: {expected}"]


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (1, {"type": "integer"}),
        (1.0, {"type": "integer"}),
        (1, {"type": "number"}),
        (1.5, {"type": "number"}),
        (None, {"type": "string", "nullable": True}),
        ("x", {"x-kubernetes-int-or-string": True}),
        (1, {"x-kubernetes-int-or-string": True}),
        ({"a": [1]}, {"x-kubernetes-preserve-unknown-fields": True}),
        ("xay", {"type": "string", "pattern": "a"}),
        ("é", {"type": "string", "maxLength": 1}),
        ("2026-01-01T10:00:00.5Z", {"type": "string", "format": "date-time"}),
        ("aGk=", {"type": "string", "format": "byte"}),
        ("anything", {"type": "string", "format": "unheard-of"}),
        (1, {"type": "integer", "enum": [1.0]}),
        (0.3, {"type": "number", "multipleOf": 0.1}),
        ({"x": 1}, {"type": "object", "additionalProperties": {"type": "integer"}}),
    ],
)
def test_valid(value, schema):
    assert one(value, schema) == []


def test_required_and_nested():
    schema = spec(
        list={
            "type": "array",
            "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
        },
        map={"type": "object", "additionalProperties": {"type": "integer"}},
    )
    schema["properties"]["spec"]["required"] = ["name"]
    document = {"spec": {"list": [{}, {"a": 1}], "map": {"k": "v"}}}
    assert errors(document, schema) == [
        "spec.list[0].a: Required value",
        'spec.list[1].a: Invalid value: "string": spec.list[1].a in body must be of type string: "integer"'.replace(
            '"string": spec', '"integer": spec'
        ),
        'spec.map.k: Invalid value: "string": spec.map.k in body must be of type integer: "string"',
        "spec.name: Required value",
    ]
    reasons = [error.reason for error in validate(document, parse_schema(schema))]
    assert reasons == [
        "FieldValueRequired", "FieldValueTypeInvalid", "FieldValueTypeInvalid", "FieldValueRequired",
    ]  # fmt: skip


def test_root_problems_have_no_path():
    schema = {"type": "object", "required": ["spec"]}
    assert errors({}, schema) == ["spec: Required value"]
    assert errors({"a": 1}, {"type": "object", "additionalProperties": False}) == [
        f'{NO_PATH}: Invalid value: "a": .a in body is a forbidden property'
    ]


def test_several_keywords_at_once():
    found = one("abc", {"type": "integer", "enum": [1], "pattern": "z"})
    assert found == [
        'spec.n: Invalid value: "string": spec.n in body must be of type integer: "string"',
        "spec.n: Invalid value: \"abc\": spec.n in body should match 'z'",
        'spec.n: Unsupported value: "abc": supported values: "1"',
    ]


def test_null_in_an_enumeration():
    assert one(None, {"type": "string", "nullable": True, "enum": ["a"]}) == [
        'spec.n: Unsupported value: null: supported values: "a"'
    ]


def test_any_of():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    assert one({"a": "x"}, schema) == []
    assert one({}, schema) == [
        f'{NO_PATH}: Invalid value: "": "spec.n" must validate at least one schema (anyOf)',
        "spec.n.a: Required value",
    ]


def test_one_of():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    assert one({"b": "x"}, schema) == []
    assert one({"a": "x", "b": "y"}, schema) == [
        f'{NO_PATH}: Invalid value: "": "spec.n" must validate one and only one schema (oneOf). '
        "Found 2 valid alternatives"
    ]
    assert one({}, schema)[0] == (
        f'{NO_PATH}: Invalid value: "": "spec.n" must validate one and only one schema (oneOf). '
        "Found none valid"
    )


def test_all_of_and_not():
    schema = {"type": "integer", "allOf": [{"minimum": 2}, {"maximum": 9}], "not": {"enum": [5]}}
    assert one(3, schema) == []
    assert one(5, schema) == [
        f'{NO_PATH}: Invalid value: "": "spec.n" must not validate the schema (not)'
    ]
    assert one(1, schema) == [
        "spec.n: Invalid value: 1: spec.n in body should be greater than or equal to 2",
        f'{NO_PATH}: Invalid value: "": "spec.n" must validate all the schemas (allOf)',
    ]
    assert one(1, {"type": "integer", "allOf": [{"minimum": 2}]})[1].endswith("None validated")


def test_formats_of_numbers_are_remarks_and_integers_have_64_bits():
    assert one(1 << 31, {"type": "integer", "format": "int32"}) == []
    assert one(1e39, {"type": "number", "format": "float"}) == []
    wrong = 'spec.n: Invalid value: "number": spec.n in body must be of type integer: "number"'
    assert one(1 << 63, {"type": "integer"}) == [wrong]
    assert one(2.0**63, {"type": "integer", "format": "int32"}) == [wrong]
    assert one(1.5, {"type": "integer", "format": "int64"}) == [wrong]
    assert one(1 << 63, {"type": "number"}) == []


def test_bounds_lose_their_fraction_beside_whole_numbers():
    schema = {"type": "number", "minimum": 1.5, "maximum": 2.5}
    assert one(1, schema) == []
    assert one(3, schema) == [
        "spec.n: Invalid value: 3: spec.n in body should be less than or equal to 2"
    ]
    assert one(1.25, schema) != []


def test_what_did_not_change_is_not_judged_again():
    schema = spec(
        a={"type": "string", "maxLength": 1},
        l={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "v": {"type": "string", "maxLength": 1}},
            },
        },
        p={"type": "array", "items": {"type": "string", "maxLength": 1}},
    )
    old = {"spec": {"a": "long", "l": [{"name": "x", "v": "long"}], "p": ["long"]}}
    assert len(errors(old, schema)) == 3
    assert errors(old, schema, old=old) == []
    new = {
        "spec": {"a": "long", "l": [{"name": "y"}, {"name": "x", "v": "long"}], "p": ["long", "a"]}
    }
    assert errors(new, schema, old=old) == ["spec.p[0]: Too long: may not be more than 1 byte"]
    assert errors({"spec": {"a": "other"}}, schema, old=old) == [
        "spec.a: Too long: may not be more than 1 byte"
    ]


def test_a_status_alone():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert errors({"n": "x"}, schema, prefix="status") == [
        'status.n: Invalid value: "string": n in body must be of type integer: "string"'
    ]


def test_a_hostile_pattern_takes_no_longer_than_others():
    found = one("a" * 70_000 + "b", {"type": "string", "pattern": "(a+)+$"})
    assert len(found) == 1
    assert found[0].endswith("in body should match '(a+)+$'")


def test_lists():
    schema = parse_schema(
        spec(
            s={"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            m={
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object", "properties": {"a": {}, "b": {}}},
            },
            deep={
                "type": "object",
                "additionalProperties": {
                    "type": "array", "items": {}, "x-kubernetes-list-type": "set",
                },
            },
        )
    )  # fmt: skip
    document = {
        "spec": {
            "s": ["x", "y", "x", "x"],
            "m": [{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "c": 3}],
            "deep": {"k": [{"z": 1}, {"z": 1}]},
        }
    }
    assert [text_of(error) for error in list_errors(document, schema)] == [
        'spec.s[2]: Duplicate value: "x"',
        'spec.m[2]: Duplicate value: {"a":1}',
        'spec.deep[k][1]: Duplicate value: {"z":1}',
    ]
    assert [text_of(error) for error in list_errors({"spec": {"m": [1]}}, schema)] == [
        "spec.m[0]: Invalid value: 1: must be an object for an array of list-type map"
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (1.0, "1"), (1.5, "1.5"), (1e6, "1e+06"), (100000.0, "100000"), (0.0, "0"),
        (123456789.0, "1.23456789e+08"), (0.00001, "1e-05"), (1e21, "1e+21"), (-2.5, "-2.5"),
        (0.0001, "0.0001"), (-1234567.5, "-1.2345675e+06"), (999999.0, "999999"),
    ],
)  # fmt: skip
def test_numbers_as_go_writes_them(value, text):
    assert number(value) == text


def test_texts_as_go_writes_them():
    assert quoted('a"\\\n\x00é\u2028') == '"a\\"\\\\\\n\\x00é\\u2028"'
    assert quoted("😀\x7f") == '"😀\\x7f"'
    assert shown({"b": 1, "a": "<"}) == '{"a":"\\u003c","b":1}'
    assert shown(True) == "true"
    assert shown(None) == "null"
