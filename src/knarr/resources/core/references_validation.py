"""Rules for label selectors of ``apps/v1``."""

from collections.abc import Mapping

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.qualified import qualified_name_problems
from knarr.meta.selectors import LabelSelector as ParsedSelector
from knarr.meta.selectors import Operator, Requirement
from knarr.resources.core.references import LabelSelector
from knarr.resources.fielderrors import forbidden, invalid, required
from knarr.resources.metadata import label_errors

_OPERATORS: Mapping[str, Operator] = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "absent",
}


def selector_errors(selector: LabelSelector | None) -> tuple[FieldError, ...]:
    """What is wrong with a selector; paths are relative to it."""
    if selector is None:
        return (required(""),)
    errors = label_errors(selector.match_labels, "matchLabels")
    for index, item in enumerate(selector.match_expressions):
        found = [invalid("key", item.key, text) for text in qualified_name_problems(item.key)]
        if item.operator not in _OPERATORS:
            found.append(invalid("operator", item.operator, "not a valid selector operator"))
        elif item.operator in {"In", "NotIn"} and not item.values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            found.append(required("values", detail))
        elif item.operator in {"Exists", "DoesNotExist"} and item.values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(forbidden("values", detail))
        errors += at(f"matchExpressions[{index}]", found)
    if not selector.match_labels and not selector.match_expressions:
        errors.append(invalid("", "{}", "empty selector is invalid for deployment"))
    return tuple(errors)


def compile_selector(selector: LabelSelector) -> ParsedSelector:
    """The selector in a form that matches labels; unknown operators match nothing."""
    terms = [
        Requirement(key, "in", frozenset({value}))
        for key, value in sorted((selector.match_labels or {}).items())
    ]
    for item in selector.match_expressions:
        operator = _OPERATORS.get(item.operator)
        if operator is None:
            terms.append(Requirement(item.key, "in", frozenset()))
        else:
            terms.append(Requirement(item.key, operator, frozenset(item.values)))
    return ParsedSelector(tuple(terms))
