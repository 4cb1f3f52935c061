"""The door to validation rules in CEL: nothing of the language is loaded before a schema has a rule."""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.apiserver.structural.keywords import cel_rules
from knarr.apiserver.structural.texts import invalid
from knarr.meta.fielderrors import FieldError

Judge = Callable[[Mapping[str, Any], Mapping[str, Any] | None], tuple[FieldError, ...]]
_BLOCKING = frozenset(
    {"FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
_SKIPPED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors "
    "to complete validation"
)


def cel_errors(document: Mapping[str, Any], path: str) -> tuple[FieldError, ...]:
    """What is wrong with the rules of a schema that is otherwise right.

    Args:
        document: the schema.
        path: of the schema in its definition.
    """
    if not cel_rules(document, path):
        return ()
    from knarr.apiserver.cel.definitions import rule_errors

    return rule_errors(document, path)


def judge_of(document: Mapping[str, Any]) -> Judge | None:
    """What judges objects by the rules of their schema; None without rules."""
    if not cel_rules(document, ""):
        return None
    from knarr.apiserver.cel.judging import judge
    from knarr.apiserver.cel.rules import rule_tree

    tree = rule_tree(document)
    if tree is None:
        return None
    return lambda subject, old: judge(subject, tree, old)


def judged(
    judge: Judge | None,
    found: list[FieldError],
    document: Mapping[str, Any],
    old: Mapping[str, Any] | None,
) -> tuple[FieldError, ...]:
    """Errors of the schema and of its rules; an object of the wrong form is not shown to rules."""
    if judge is None:
        return tuple(found)
    if any(error.reason in _BLOCKING for error in found):
        return (*found, invalid("", None, _SKIPPED))
    return (*found, *judge(document, old))
