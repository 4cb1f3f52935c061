"""Expressions and what Kubernetes makes of them: values, errors and refusals.

``expressions.json`` was recorded from Kubernetes 1.34's own libraries by ``tests/reference/cel``. Under ``different`` stands what
deviates, with our result: further errors after a syntax error, and the wording of a few.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from knarr.apiserver.cel import Budget, CompileError, EvalError, OutOfBudget, compile_expression
from knarr.apiserver.cel.numbers import float_text
from knarr.apiserver.cel.schemas import shape_of, value_of
from knarr.apiserver.cel.times import timestamp_text
from knarr.apiserver.cel.types import DYN, INT, list_of
from knarr.apiserver.cel.values import Duration, Optional, Timestamp, TypeValue

DATA = json.loads((Path(__file__).parent / "expressions.json").read_text())
SHAPE = shape_of(DATA["schema"], "selfType")
SELF = value_of(DATA["self"], SHAPE)
PLENTY = 1_000_000


def outcome(expression: str) -> tuple[str, str]:
    try:
        program = compile_expression(expression, {"self": SHAPE.kind, "oldSelf": SHAPE.kind})
    except CompileError as error:
        return "compile", str(error)
    try:
        return "value", shown(program.evaluate([SELF, SELF], Budget(PLENTY)))
    except EvalError as error:
        return "error", str(error)


def shown(value: Any, *, inside: bool = False) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            whole = value == value and abs(value) < 1e21 and value == int(value)
            return str(int(value)) if whole and abs(value) >= 1e6 else float_text(value)
        case int():
            return str(int(value))
        case str():
            return json.dumps(value, ensure_ascii=False) if inside else value
        case None:
            return "null"
        case bytes():
            return "b" + json.dumps(value.decode("latin1"), ensure_ascii=False)
        case dict():
            pairs = sorted(
                f"{shown(k, inside=True)}: {shown(v, inside=True)}" for k, v in value.items()
            )
            return "{" + ", ".join(pairs) + "}"
        case list():
            return "[" + ", ".join(shown(each, inside=True) for each in value) + "]"
        case Optional():
            return (
                f"optional({shown(value.value, inside=True)})"
                if value.present
                else "optional.none()"
            )
        case Timestamp():
            return f"timestamp({timestamp_text(value)})"
        case Duration():
            return f"duration({go_duration(value.ns)})"
        case TypeValue():
            return value.name
        case _:
            return repr(value)


def go_duration(ns: int) -> str:
    sign, rest = ("-" if ns < 0 else ""), abs(ns)
    hours, rest = divmod(rest, 3600 * 10**9)
    minutes, rest = divmod(rest, 60 * 10**9)
    seconds = f"{rest // 10**9}.{rest % 10**9:09d}".rstrip("0").rstrip(".")
    return (
        sign
        + (f"{hours}h" if hours else "")
        + (f"{minutes}m" if hours or minutes else "")
        + f"{seconds}s"
    )


@pytest.mark.parametrize("part", ["same", "different"])
def test_expressions_give_what_was_recorded(part: str) -> None:
    wrong = [
        (expression, (kind, text), outcome(expression))
        for expression, kind, text in DATA[part]
        if outcome(expression) != (kind, text)
    ]
    assert wrong == []
    assert len(DATA["same"]) > 550


def test_an_evaluation_ends_within_its_budget() -> None:
    many = list(range(3000))
    for expression in (
        "self.all(x, self.all(y, x + y >= 0))",
        "self.map(x, self).flatten().size() > 0",
        "self.distinct().size() > 0",
        "lists.range(100000000).size() > 0",
        "self.map(x, string(x)).join(',').replace('1', self.map(x, string(x)).join(',')).size() > 0",
        "sets.contains(self, self)",
        "self.sortBy(x, self.sum()).size() > 0",
    ):
        program = compile_expression(expression, {"self": list_of(INT)})
        with pytest.raises(OutOfBudget):
            program.evaluate([many], Budget(100_000))


def test_patterns_take_time_in_proportion_to_the_text() -> None:
    program = compile_expression("self.matches('^(a+)+$')", {"self": DYN})
    assert program.evaluate(["a" * 5000 + "b"], Budget(PLENTY)) is False


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("(" * 60 + "1" + ")" * 60, "expression recursion limit exceeded: 50"),
        ("+".join(["1"] * 200), "expression recursion limit exceeded: 150"),
        ("1" * 100_001, "expression code point size exceeds limit: size: 100001, limit 100000"),
        ("'%.999999f'.format([1.5])", None),
    ],
)
def test_too_much_is_refused(expression: str, text: str | None) -> None:
    if text is not None:
        with pytest.raises(CompileError, match=text):
            compile_expression(expression, {})
    else:
        with pytest.raises(EvalError, match="beyond the limit"):
            compile_expression(expression, {}).evaluate([], Budget(PLENTY))


def test_long_chains_of_and_are_fine() -> None:
    program = compile_expression(" && ".join(["self > 0"] * 500), {"self": INT})
    assert program.evaluate([1], Budget(PLENTY)) is True


def test_several_errors_are_told_at_once_with_their_places() -> None:
    with pytest.raises(CompileError) as caught:
        compile_expression("nope > 1 &&\n  self.x == 'a'", {"self": INT})
    assert str(caught.value) == (
        "ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope > 1 &&\n | ^\n"
        "ERROR: <input>:2:7: type 'int' does not support field selection\n |   self.x == 'a'\n | ......^"
    )


def test_data_that_do_not_fit_their_schema_are_errors_when_used() -> None:
    shape = shape_of(
        {"type": "object", "properties": {"t": {"type": "string", "format": "date-time"}}}
    )
    value = value_of({"t": "yesterday"}, shape)
    program = compile_expression("self.t == self.t || false", {"self": shape.kind})
    with pytest.raises(EvalError, match="Invalid date-time formatted string yesterday"):
        program.evaluate([value], Budget(PLENTY))
    assert (
        compile_expression("has(self.t)", {"self": shape.kind}).evaluate([value], Budget(10))
        is True
    )
