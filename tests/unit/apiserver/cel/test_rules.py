"""Validation rules of schemas: while they are written, and while objects are.

``rules.json`` holds schemas, objects and what Kubernetes 1.34's own validator says of them. Its estimate
of costs is left out: ours are counted while a rule runs.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from knarr.apiserver.cel.judging import judge
from knarr.apiserver.cel.rules import rule_tree
from knarr.apiserver.structural import CrdVersion, cel_errors
from knarr.apiserver.structural.texts import text_of

CASES = json.loads((Path(__file__).parent / "rules.json").read_text())
PATH = "spec.validation.openAPIV3Schema"


@pytest.mark.parametrize("case", CASES, ids=[str(index) for index in range(len(CASES))])
def test_rules_are_judged_as_kubernetes_judges_them(case: dict[str, Any]) -> None:
    assert sorted(map(text_of, cel_errors(case["schema"], PATH))) == case["definition"]
    if case["obj"] is not None:
        found = judge(case["obj"], rule_tree(case["schema"]), case["old"])
        errors = sorted(text_of(error) for error in found if error.level == "error")
        assert errors == case["errors"]


def schema(rules: list[dict[str, Any]], **properties: Any) -> dict[str, Any]:
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": rules}
    return {"type": "object", "properties": {"spec": spec}}


def version(document: dict[str, Any]) -> CrdVersion:
    return CrdVersion({"name": "v1", "schema": {"openAPIV3Schema": document}})


INTEGER = {"type": "integer"}


def test_what_breaks_a_rule_but_did_not_change_is_a_warning() -> None:
    rules = version(schema([{"rule": "self.a > 0", "message": "positive"}], a=INTEGER))
    document = {"spec": {"a": 0}}
    (warning,) = rules.errors(document, document)
    assert warning.level == "warning"
    assert warning.message == 'Invalid value: "object": positive'
    (error,) = rules.errors({"spec": {"a": -1}}, document)
    assert error.level == "error"


def test_objects_of_the_wrong_form_are_not_shown_to_rules() -> None:
    rules = version(schema([{"rule": "self.a > 0"}], a=INTEGER))
    texts = [text_of(error) for error in rules.errors({"spec": {"a": "x"}})]
    assert texts == [
        'spec.a: Invalid value: "string": spec.a in body must be of type integer: "string"',
        "<nil>: Invalid value: null: some validation rules were not checked because the object was "
        "invalid; correct the existing errors to complete validation",
    ]


def test_rules_see_the_whole_object_when_its_status_is_written() -> None:
    document = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"max": INTEGER}},
            "status": {"type": "object", "properties": {"now": INTEGER}},
        },
        "x-kubernetes-validations": [
            {"rule": "self.status.now <= self.spec.max", "message": "too many"}
        ],
    }
    old = {"spec": {"max": 1}, "status": {"now": 0}}
    (error,) = version(document).status_errors({"spec": {"max": 1}, "status": {"now": 2}}, old)
    assert text_of(error) == '<nil>: Invalid value: "object": too many'


def test_too_expensive_rules_are_errors_not_delays() -> None:
    rules = [
        {"rule": "self.l.all(x, self.l.all(y, x + y >= 0))"},
        {"rule": "self.l.size() > 0", "message": "never reached"},
    ]
    tree = rule_tree(schema(rules, l={"type": "array", "items": INTEGER}))
    found = judge({"spec": {"l": list(range(2000))}}, tree)
    assert [text_of(error) for error in found] == [
        "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further "
        "validation rules will be run due to call cost exceeds limit for rule: "
        "self.l.all(x, self.l.all(y, x + y >= 0))"
    ]


def test_the_budget_is_shared_by_all_rules_of_an_object() -> None:
    items = {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= 0"}]}
    tree = rule_tree(schema([], l={"type": "array", "items": items}))
    found = judge({"spec": {"l": list(range(100))}}, tree, units=150)
    assert [text_of(error) for error in found] == [
        'spec.l[50]: Invalid value: "integer": validation failed due to running out of cost budget, no '
        "further validation rules will be run"
    ]


def test_unknown_functions_are_refused_by_name() -> None:
    (error,) = cel_errors(
        schema([{"rule": "authorizer.allowed() || math.least(1, 2) > 0"}], a=INTEGER), PATH
    )
    assert "undeclared reference to 'authorizer'" in error.details
    assert "undeclared reference to 'least'" in error.details


def test_messages_of_the_wrong_kind_give_way_to_the_usual_one() -> None:
    for expression in ("'a\\nb'", "' '", "string(self.a / 0)", "'x'.replace('x', self.long)"):
        rule = {"rule": "self.a > 0", "messageExpression": expression}
        tree = rule_tree(schema([rule], a=INTEGER, long={"type": "string"}))
        (error,) = judge({"spec": {"a": 0, "long": "y" * 6000}}, tree)
        assert error.details == "failed rule: self.a > 0"
