"""Laws of custom resources' schemas, for random schemas and documents."""

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.fieldmanagement import custom_resource_schema, field_set
from knarr.apiserver.structural import (
    CrdVersion,
    find,
    list_errors,
    parse_path,
    prune,
    schema_errors,
    validate,
)
from knarr.apiserver.structural.expressions import BadExpression, compile_expression
from knarr.apiserver.structural.jsonpath import BadPath, PathFailure

NAMES = ("a", "b", "c")
SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "default": "x", "enum": ["x", "y"]},
        {"type": "string", "nullable": True},
        {"type": "integer", "minimum": 0, "default": 1},
        {"type": "number"},
        {"type": "boolean", "default": True},
        {"x-kubernetes-int-or-string": True},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    ]
)


def containers(inner):
    fields = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    return st.one_of(
        st.builds(lambda each: {"type": "object", "properties": each}, fields),
        st.builds(lambda each: {"type": "object", "properties": each, "default": {}}, fields),
        st.builds(lambda each: {"type": "object", "additionalProperties": each}, inner),
        st.builds(lambda each: {"type": "array", "items": each}, inner),
        st.builds(
            lambda each: {
                "type": "object",
                "properties": each,
                "x-kubernetes-preserve-unknown-fields": True,
            },
            fields,
        ),
    )


SCHEMAS = st.recursive(SCALARS, containers, max_leaves=8).map(
    lambda spec: {"type": "object", "properties": {"spec": spec}}
)
JSON = st.recursive(
    st.sampled_from([None, True, 0, 1, -1, 1.5, "", "x", "y"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "z"]), inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = st.builds(lambda spec: {"apiVersion": "e/v1", "kind": "K", "spec": spec}, JSON)


def version(schema):
    return CrdVersion({"name": "v1", "schema": {"openAPIV3Schema": schema}})


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, DOCUMENTS)
def test_admitting_twice_is_admitting_once(schema, document):
    assert schema_errors(schema, "s") == ()
    kind = version(schema)
    before = json.dumps(document)
    once = kind.admit(document)
    again = kind.admit(once.document)
    assert again.document == once.document
    assert again.unknown == []
    assert json.dumps(document) == before


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, DOCUMENTS)
def test_pruning_reports_what_it_drops(schema, document):
    kind = version(schema)
    pruned, unknown = prune(document, kind.schema)
    assert (pruned == document) == (not unknown)
    assert prune(pruned, kind.schema) == (pruned, [])


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, DOCUMENTS, DOCUMENTS)
def test_what_did_not_change_is_not_judged(schema, old, new):
    kind = version(schema)
    assert kind.errors(old, old=old) == ()
    fresh = kind.errors(new)
    assert set(kind.errors(new, old=old)) <= set(fresh)


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, DOCUMENTS)
def test_admitted_and_valid_documents_have_owners(schema, document):
    kind = version(schema)
    admitted = kind.admit(document).document
    if not validate(admitted, kind.schema) and not list_errors(admitted, kind.schema):
        merging = custom_resource_schema(schema)
        assert field_set(admitted, merging, strict=False) is not None


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=".[]'\"@?()=*$ab0-1:,\\", max_size=20), JSON)
def test_any_text_is_a_path_or_refused(text, document):
    try:
        path = parse_path(text)
    except BadPath:
        return
    with contextlib.suppress(PathFailure):
        assert isinstance(find(document, path), list)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab-[]()\\dpL{}1,^$*+?|:PQEx-z.", max_size=16))
def test_any_text_is_an_expression_or_refused(text):
    with contextlib.suppress(BadExpression):
        compile_expression(text).search("ab")
