"""Documents against the rules of their schema.

All rules of one write share a budget: what they cost is counted, not timed, so that the same object is
always judged the same way.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from knarr.apiserver.cel import Budget, EvalError, NoOverload, OutOfBudget, Program
from knarr.apiserver.cel.rules import MAX_MESSAGE_BYTES, Rule, RuleNode
from knarr.apiserver.cel.schemas import Shape, value_of
from knarr.apiserver.cel.values import ABSENT, Optional
from knarr.apiserver.structural.texts import child, duplicate, forbidden, invalid, key, required
from knarr.apiserver.structural.validation import MISSING, equal
from knarr.meta.fielderrors import FieldError

MAX_UNITS_PER_RULE: Final = 1_000_000
MAX_UNITS: Final = 1_000_000
"""Of all rules of one object: at most about half a second."""
_NO_BUDGET: Final = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)
Unchanged = Callable[[], bool]


class _Stop(Exception):  # no error: the end of the judgement
    """Nothing more is judged."""


def judge(
    document: Mapping[str, Any],
    tree: RuleNode,
    old: Mapping[str, Any] | None = None,
    *,
    units: int = MAX_UNITS,
) -> tuple[FieldError, ...]:
    """What rules say against a document.

    Args:
        document: valid by its schema in everything else.
        tree: of the schema.
        old: the stored object on update. What breaks a rule but did not change is only warned of.
        units: what all rules together may cost.
    """
    judgement = _Judgement(units)
    before: Any = MISSING if old is None else old
    shape = tree.shape
    value = value_of(document, shape) if shape is not None else None
    old_value = value_of(old, shape) if shape is not None and old is not None else MISSING
    with suppress(_Stop):
        judgement.node(tree, _Place(document, before, value, old_value, "", lambda: False))
    return tuple(judgement.errors)


class _Place:
    """A part of a document, and what stood there before."""

    __slots__ = ("old", "old_value", "path", "raw", "unchanged", "value")

    def __init__(
        self, raw: Any, old: Any, value: Any, old_value: Any, path: str, above: Unchanged
    ) -> None:
        self.raw = raw
        self.old = old
        self.value = value
        self.old_value = old_value
        self.path = path
        self.unchanged: Unchanged = above if old is MISSING else lambda: equal(raw, old)


class _Judgement:
    def __init__(self, units: int) -> None:
        self.errors: list[FieldError] = []
        self._left = units

    def node(self, node: RuleNode, place: _Place) -> None:
        """Judge a part and what is inside it."""
        if place.raw is None:
            return
        for rule in node.rules:
            self._rule(rule, node, place)
        if isinstance(place.raw, Mapping):
            self._inside_map(node, place)
        elif isinstance(place.raw, list) and node.items is not None:
            self._inside_list(node, node.items, place)

    def _inside_map(self, node: RuleNode, place: _Place) -> None:
        old = place.old if isinstance(place.old, Mapping) else {}
        for name, raw in place.raw.items():
            inner = node.values or node.fields.get(name)
            if inner is None:
                continue
            path = key(place.path, name) if node.values is not None else child(place.path, name)
            seen = name if node.values is not None else _visible(node.shape, name)
            value, old_value = _entry(place.value, seen), _entry(place.old_value, seen)
            self._enter(inner, place, raw, old.get(name, MISSING), value, old_value, path)

    def _inside_list(self, node: RuleNode, inner: RuleNode, place: _Place) -> None:
        before = _by_keys(place.old, node.keys)
        for index, raw in enumerate(place.raw):
            old = before.get(_keys_of(raw, node.keys), MISSING) if before else MISSING
            value = place.value[index] if isinstance(place.value, list) else MISSING
            self._enter(inner, place, raw, old, value, MISSING, key(place.path, index))

    def _enter(
        self,
        node: RuleNode,
        above: _Place,
        raw: Any,
        old: Any,
        value: Any,
        old_value: Any,
        path: str,
    ) -> None:
        if node.shape is not None and value is MISSING:
            value = value_of(raw, node.shape)
        if old is None:
            old = MISSING
        if node.shape is not None and old is not MISSING and old_value is MISSING:
            old_value = value_of(old, node.shape)
        self.node(node, _Place(raw, old, value, old_value, path, above.unchanged))

    # Rules

    def _rule(self, rule: Rule, node: RuleNode, place: _Place) -> None:
        if self._left <= 0:
            self._refuse(node, place, _NO_BUDGET)
            raise _Stop
        if rule.program is None:
            if rule.source:
                self._refuse(node, place, f"rule compile error: {rule.problem}")
            return
        if rule.uses_old and place.old_value is MISSING and not rule.optional_old:
            return
        enough = self._left >= MAX_UNITS_PER_RULE
        try:
            holds = self._evaluate(rule.program, rule, place)
        except NoOverload as error:
            text = (
                f"'{error}': call arguments did not match a supported operator, function or macro "
                f"signature for rule: {rule.shown}"
            )
            self._refuse(node, place, text)
        except EvalError as error:
            self._refuse(node, place, f"{error} evaluating rule: {rule.shown}")
        except OutOfBudget as error:
            text = (
                f"'{error}': no further validation rules will be run due to call cost exceeds limit "
                f"for rule: {rule.shown}"
            )
            self._refuse(node, place, text if enough else _NO_BUDGET)
            raise _Stop from None
        else:
            if holds is not True:
                self._failed(rule, node, place)

    def _evaluate(self, program: Program, rule: Rule, place: _Place) -> Any:
        old = place.old_value
        if rule.optional_old:
            old = ABSENT if old is MISSING else Optional(present=True, value=old)
        granted = min(self._left, MAX_UNITS_PER_RULE)
        budget = Budget(granted)
        try:
            return program.evaluate((place.value, old), budget)
        finally:
            self._left -= granted - max(budget.left, 0)

    def _refuse(self, node: RuleNode, place: _Place, detail: str) -> None:
        self.errors.append(invalid(place.path, node.kind, detail))

    def _failed(self, rule: Rule, node: RuleNode, place: _Place) -> None:
        path = child(place.path, rule.path) if rule.path else place.path
        if rule.path.startswith("["):
            path = place.path + rule.path
        error = _error(rule, path, node.kind, self._message(rule, node, place))
        if not rule.uses_old and place.unchanged():
            text = f"{error.message}: {error.details}" if error.details else error.message
            self.errors.append(
                FieldError(message=text, paths=error.paths, level="warning", reason=error.reason)
            )
        else:
            self.errors.append(error)

    def _message(self, rule: Rule, node: RuleNode, place: _Place) -> str:
        default = rule.message or f"failed rule: {rule.source}"
        if rule.message_program is None:
            return default
        try:
            text = str(self._evaluate(rule.message_program, rule, place)).strip()
        except EvalError:
            return default
        except OutOfBudget:
            detail = (
                "messageExpression evaluation failed due to running out of cost budget, no further "
                "validation rules will be run"
            )
            self._refuse(node, place, detail)
            raise _Stop from None
        usable = text and "\n" not in text and len(text.encode()) <= MAX_MESSAGE_BYTES
        return text if usable else default


def _error(rule: Rule, path: str, kind: str, message: str) -> FieldError:
    match rule.reason:
        case "FieldValueForbidden":
            return forbidden(path, message)
        case "FieldValueRequired":
            return required(path, message)
        case "FieldValueDuplicate":
            return duplicate(path, kind)
        case _:
            return invalid(path, kind, message)


def _visible(shape: Shape | None, name: str) -> str | None:
    found = shape.fields.get(name) if shape is not None else None
    return found[0] if found is not None else None


def _entry(value: Any, name: str | None) -> Any:
    if name is None or not isinstance(value, dict):
        return MISSING
    return value.get(name, MISSING)


def _keys_of(item: Any, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    if not isinstance(item, Mapping):
        return None
    values = tuple(item.get(name) for name in names)
    usable = all(isinstance(each, bool | int | float | str) for each in values)
    return tuple((isinstance(each, bool), each) for each in values) if usable else None


def _by_keys(old: Any, names: tuple[str, ...]) -> dict[tuple[Any, ...] | None, Any]:
    if not names or not isinstance(old, list):
        return {}
    result: dict[tuple[Any, ...] | None, Any] = {}
    for item in old:
        found = _keys_of(item, names)
        if found is not None:
            result.setdefault(found, item)
    return result
