import pytest

from knarr.apiserver.structural import (
    CrdVersion,
    apply_defaults,
    coerce_metadata,
    drop_nulls,
    embedded_errors,
    parse_schema,
    prune,
)
from knarr.apiserver.structural.texts import required, text_of


def schema(**properties):
    return parse_schema({"type": "object", "properties": properties})


OBJECT = {"type": "object"}
PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}


def test_unknown_fields_go():
    kind = schema(
        spec={
            "type": "object",
            "properties": {
                "a": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {}}}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "any": {"type": "object", "additionalProperties": True},
                "free": {
                    **OBJECT,
                    **PRESERVE,
                    "properties": {"known": {**OBJECT, "properties": {}}},
                },
            },
        }
    )
    document = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"bogus": 1},
        "top": 1,
        "spec": {
            "a": "1",
            "b": 2,
            "list": [{"x": 1, "y": 2}, {"z": 3}],
            "map": {"k": "v"},
            "any": {"k": {"gone": 1}, "l": 1},
            "free": {"q": {"r": 1}, "known": {"s": 1}},
        },
    }
    pruned, unknown = prune(document, kind)
    assert pruned == {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"bogus": 1},
        "spec": {
            "a": "1",
            "list": [{"x": 1}, {}],
            "map": {"k": "v"},
            "any": {"k": {}, "l": 1},
            "free": {"q": {"r": 1}, "known": {}},
        },
    }
    assert unknown == [
        "spec.any.k.gone",
        "spec.b",
        "spec.free.known.s",
        "spec.list[0].y",
        "spec.list[1].z",
        "top",
    ]
    assert document["spec"]["b"] == 2


def test_embedded_resources_keep_their_meta():
    kind = schema(
        template={
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {"spec": {"type": "object", **PRESERVE}},
        }
    )
    document = {
        "template": {"apiVersion": "v1", "kind": "P", "metadata": {}, "spec": {"a": 1}, "x": 1}
    }
    assert prune(document, kind) == (
        {"template": {"apiVersion": "v1", "kind": "P", "metadata": {}, "spec": {"a": 1}}},
        ["template.x"],
    )


def test_metadata_of_embedded_resources():
    kind = schema(t={"type": "object", "x-kubernetes-embedded-resource": True, **PRESERVE})
    document = {
        "t": {
            "apiVersion": "v1",
            "kind": "P",
            "metadata": {
                "name": "a",
                "bogus": 1,
                "creationTimestamp": None,
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "odd": 1}
                ],
            },
        }
    }
    clean, unknown, errors = coerce_metadata(document, kind)
    assert clean["t"]["metadata"] == {
        "name": "a",
        "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"}],
    }
    assert unknown == ["t.metadata.bogus", "t.metadata.ownerReferences[0].odd"]
    assert errors == ()
    bad = {"t": {"apiVersion": 1, "kind": "P", "metadata": {"labels": 3}}}
    assert [text_of(error) for error in coerce_metadata(bad, kind)[2]] == [
        "t.apiVersion: Invalid value: 1: must be a string",
        't.metadata: Invalid value: {"labels":3}: Expected `object | null`, got `int` - at `$.labels`',
    ]


def test_what_embedded_resources_need():
    kind = schema(
        l={"type": "array", "items": {**OBJECT, "x-kubernetes-embedded-resource": True, **PRESERVE}}
    )

    def check(metadata):
        return [] if metadata.name else [required("name")]

    document = {
        "l": [
            {},
            {"apiVersion": "", "kind": "a b"},
            {"apiVersion": "a/b/c", "kind": "K", "metadata": {}},
            {"apiVersion": 1, "kind": "K", "metadata": 3},
        ]
    }
    found = [text_of(error) for error in embedded_errors(document, kind, check)]
    assert found[0:3] == [
        "l[0].apiVersion: Required value",
        "l[0].kind: Required value",
        'l[1].apiVersion: Invalid value: "": must not be empty',
    ]
    assert found[3].startswith('l[1].kind: Invalid value: "a b": may have mixed case')
    assert found[4:6] == [
        'l[2].apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
        "l[2].metadata.name: Required value",
    ]
    assert found[6:] == [
        "l[3].apiVersion: Invalid value: 1: must be a string",
        "l[3].metadata: Invalid value: 3: Expected `object`, got `int`",
    ]
    assert embedded_errors({"kind": "K"}, schema(), root=True)[0].paths == ("apiVersion",)


def test_defaults():
    kind = schema(
        spec={
            "type": "object",
            "properties": {
                "n": {"type": "integer", "default": 3},
                "parent": {
                    "type": "object",
                    "properties": {"child": {"type": "string", "default": "c"}},
                },
                "made": {
                    "type": "object",
                    "default": {},
                    "properties": {"child": {"type": "string", "default": "c"}},
                },
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"p": {"type": "string", "default": "TCP"}},
                    },
                },
                "map": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "default": {"x": 1},
                        "properties": {"x": {}, "y": {"type": "integer", "default": 2}},
                    },
                },
                "nullable": {"type": "string", "nullable": True, "default": "d"},
                "not": {"type": "string", "default": "d"},
            },
        }
    )
    assert apply_defaults({}, kind) == {}
    assert apply_defaults({"spec": {}}, kind) == {
        "spec": {"n": 3, "made": {"child": "c"}, "nullable": "d", "not": "d"}
    }
    document = {
        "spec": {
            "n": 0,
            "parent": {},
            "list": [{}, {"p": "UDP"}],
            "map": {"a": {}, "b": None},
            "nullable": None,
            "not": None,
            "made": {"child": "x"},
        }
    }
    assert apply_defaults(document, kind) == {
        "spec": {
            "n": 0,
            "parent": {"child": "c"},
            "list": [{"p": "TCP"}, {"p": "UDP"}],
            "map": {"a": {"y": 2}, "b": {"x": 1, "y": 2}},
            "nullable": None,
            "not": "d",
            "made": {"child": "x"},
        }
    }
    assert document["spec"]["not"] is None


def test_defaults_are_not_shared():
    kind = schema(l={"type": "array", "items": {}, "default": [1]})
    one, two = apply_defaults({}, kind), apply_defaults({}, kind)
    one["l"].append(2)
    assert two == {"l": [1]}


def test_nulls():
    kind = schema(
        a={"type": "string"},
        b={"type": "string", "nullable": True},
        c={"type": "string", "default": "x"},
        d={"type": "array", "items": {"type": "object", "properties": {"e": {"type": "string"}}}},
        free=PRESERVE,
    )
    document = {
        "a": None,
        "b": None,
        "c": None,
        "d": [None, {"e": None}],
        "free": {"q": None},
        "z": None,
    }
    assert drop_nulls(document, kind) == {
        "b": None,
        "c": None,
        "d": [None, {}],
        "free": {"q": None},
        "z": None,
    }


VERSION = {
    "name": "v1",
    "schema": {
        "openAPIV3Schema": {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "replicas": {"type": "integer", "default": 1},
                        "color": {"type": "string", "enum": ["red", "blue"]},
                        "tags": {
                            "type": "array",
                            "items": {"type": "string"},
                            "x-kubernetes-list-type": "set",
                        },
                    },
                },
                "status": {
                    "type": "object",
                    "properties": {
                        "replicas": {"type": "integer"},
                        "selector": {"type": "string"},
                        "tags": {
                            "type": "array",
                            "items": {"type": "string"},
                            "x-kubernetes-list-type": "set",
                        },
                    },
                },
            },
        }
    },
    "subresources": {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    },
    "selectableFields": [{"jsonPath": ".spec.color"}],
}


def test_a_version():
    version = CrdVersion(VERSION)
    assert version.name == "v1"
    assert version.has_status
    sent = {"apiVersion": "e/v1", "kind": "X", "metadata": {}, "spec": {"color": "green", "odd": 1}}
    admitted = version.admit(sent)
    assert admitted.document["spec"] == {"color": "green", "replicas": 1}
    assert admitted.unknown == ["spec.odd"]
    assert [text_of(error) for error in version.errors(admitted.document)] == [
        'spec.color: Unsupported value: "green": supported values: "red", "blue"'
    ]
    assert version.errors(admitted.document, old=admitted.document) == ()
    assert version.defaulted({"spec": {}}) == {"spec": {"replicas": 1}}
    assert version.selectable(admitted.document) == {"spec.color": "green"}
    assert version.selectable({}) == {"spec.color": ""}
    assert version.scale.replicas(admitted.document) == 1
    assert version.scale.selector({"status": {"selector": "a=b"}}) == "a=b"
    assert [column.name for column in version.columns] == ["Age"]


def test_ambiguous_lists_do_not_block_other_changes():
    version = CrdVersion(VERSION)
    old = {"spec": {"tags": ["a", "a"]}}
    new = {"spec": {"tags": ["a", "a"], "color": "red"}}
    assert version.errors(new, old=old) == ()
    assert [text_of(error) for error in version.errors(new)] == [
        'spec.tags[1]: Duplicate value: "a"'
    ]


def test_a_status():
    version = CrdVersion(VERSION)
    old = {"status": {"replicas": 1}}
    new = {"status": {"replicas": "x", "tags": ["a", "a"]}}
    assert [text_of(error) for error in version.status_errors(new, old)] == [
        'status.replicas: Invalid value: "string": replicas in body must be of type integer: "string"',
        ".status.replicas: Invalid value: 0: .status.replicas accessor error: x is of the type string, expected int64",
        'status.tags[1]: Duplicate value: "a"',
    ]
    assert version.status_errors({}, old) == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"spec": {"replicas": -1}},
            ".spec.replicas: Invalid value: -1: should be a non-negative integer",
        ),
        (
            {"spec": {"replicas": 1 << 31}},
            ".spec.replicas: Invalid value: 2147483648: should be less than or equal to 2147483647",
        ),
        ({"spec": 3}, ".spec.replicas: Invalid value: 0: .spec.replicas accessor error"),
        (
            {"status": {"selector": 3}},
            '.status.selector: Invalid value: "": .status.selector accessor',
        ),
    ],
)
def test_scale_fields(document, message):
    errors = CrdVersion(VERSION).scale.errors(document)
    assert len(errors) == 1
    assert text_of(errors[0]).startswith(message)


def test_a_version_without_a_schema_keeps_everything():
    version = CrdVersion({"name": "v1"})
    document = {"spec": {"a": {"b": 1}}}
    assert version.admit(document) == (document, [], ())
    assert not version.has_status
    assert version.scale is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5 is of the type float64"),
        (1 << 63, "9.223372036854776e+18 is of the type float64"),
        ("x", "x is of the type string"),
        (True, "true is of the type bool"),
        ([1, "a"], "[1 a] is of the type []interface {}"),
        ({"b": None, "a": 2}, "map[a:2 b:<nil>] is of the type map[string]interface {}"),
    ],
)
def test_replicas_of_another_type_are_told_in_gos_words(value, text):
    found = CrdVersion(VERSION).scale.errors({"spec": {"replicas": value}})
    assert text_of(found[0]).endswith(f".spec.replicas accessor error: {text}, expected int64")
