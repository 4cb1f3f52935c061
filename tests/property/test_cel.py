"""Expressions that nobody would write: they are refused, or end in a value or an error."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.cel import Budget, CompileError, EvalError, OutOfBudget, compile_expression
from knarr.apiserver.cel.declarations import functions
from knarr.apiserver.cel.escaping import escaped
from knarr.apiserver.cel.types import DYN
from knarr.apiserver.cel.values import compare, equal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = sorted(name for name in functions() if name[0].isalpha())
LEAVES = st.sampled_from(
    [
        "self",
        "self.a",
        "x",
        "1",
        "0",
        "-1",
        "2u",
        "1.5",
        "'a'",
        "''",
        "b'x'",
        "null",
        "true",
        "[]",
        "{}",
        "'1h'",
    ]
)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    operators = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "in", "&&", "||"])
    macros = st.sampled_from(["all", "exists", "exists_one", "map", "filter", "sortBy", "optMap"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, macros, inner).map(lambda t: f"{t[0]}.{t[1]}(x, {t[2]})"),
        st.tuples(st.sampled_from(NAMES), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, st.sampled_from(NAMES), inner).map(lambda t: f"{t[0]}.{t[1]}({t[2]})"),
        st.tuples(inner, st.sampled_from(NAMES)).map(lambda t: f"{t[0]}.{t[1]}()"),
        pair.map(lambda t: f"{t[0]}[{t[1]}]"),
        pair.map(lambda t: f"[{t[0]}, {t[1]}]"),
        pair.map(lambda t: f"{{{t[0]}: {t[1]}}}"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        inner.map(lambda text: f"dyn({text})"),
        inner.map(lambda text: f"!{text}"),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, grown, max_leaves=8), JSON)
def test_evaluation_ends_in_a_value_or_an_error(source: str, data: object) -> None:
    try:
        program = compile_expression(source, {"self": DYN, "x": DYN})
    except CompileError as error:
        text = str(error)
    else:
        text = "ERROR: <input>:"
        with suppress(EvalError, OutOfBudget):
            program.evaluate([data, data], Budget(20_000))
    assert text.startswith("ERROR: <input>:")


@settings(max_examples=300, deadline=None)
@given(st.text("()[]{}.,:?!<>=&|+-*/%'\"\\rbx1 aé\n_`", max_size=30))
def test_any_text_is_an_expression_or_refused(source: str) -> None:
    text = "ERROR: <input>:"
    try:
        compile_expression(source, {"a": DYN})
    except CompileError as error:
        text = str(error)
    assert text.startswith("ERROR: <input>:")


@given(JSON, JSON)
def test_equality_and_order_agree(left: object, right: object) -> None:
    assert equal(left, left)
    assert equal(left, right) == equal(right, left)
    try:
        order = compare(left, right)
    except EvalError:
        return
    assert (order == 0) == equal(left, right)
    assert compare(right, left) == -order


@given(st.text("ab-./_in", min_size=1, max_size=8), st.text("ab-./_in", min_size=1, max_size=8))
def test_escaped_names_are_identifiers_and_stay_different(one: str, other: str) -> None:
    names = [escaped(one), escaped(other)]
    assert all(name is not None and name.isidentifier() for name in names)
    if one != other:
        assert names[0] != names[1]
