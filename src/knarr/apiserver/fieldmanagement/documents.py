"""Field sets of documents: which paths a document has, and how two documents differ."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from knarr.apiserver.fieldmanagement.elements import MergeProblem, field_element
from knarr.apiserver.fieldmanagement.fieldset import EMPTY, MEMBER, FieldSet
from knarr.apiserver.fieldmanagement.schema import (
    ListRule,
    MapRule,
    MergeSchema,
    Shape,
    check_shape,
    shape_of,
)

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class Absent:
    """The type of ``ABSENT``: there is no value, not even null."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    if left is right:
        return True
    if left != right:
        return False
    if isinstance(left, bool) or isinstance(right, bool):
        return type(left) is type(right)
    if isinstance(left, dict):
        return all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list):
        return all(map(same, left, right))
    return True


# The paths of one document


def field_set(
    document: Any, schema: MergeSchema, *, strict: bool = False, empty_lists: bool = False
) -> FieldSet:
    """The paths of a document that an applier of it owns.

    Args:
        document: a JSON value.
        schema: of the document.
        strict: refuse shapes and fields that the schema does not have, and duplicate items.
        empty_lists: an empty set or keyed list counts too, as empty objects always do.

    Raises:
        MergeProblem: the document does not fit its schema.
    """
    return _Paths(strict=strict, empty_lists=empty_lists).of(document, schema)


class _Paths:
    def __init__(self, *, strict: bool, empty_lists: bool) -> None:
        self._strict = strict
        # values that are owned themselves because nothing below them can be
        self._always: list[Any] = [None, {}, []] if empty_lists else [None, {}]

    def of(self, value: Any, schema: MergeSchema) -> FieldSet:
        if self._strict:
            check_shape(schema, value)
        if isinstance(value, dict):
            return self._object(value, schema.rule_for_map())
        if isinstance(value, list):
            return self._array(value, schema.rule_for_list())
        if value is None and not schema.scalar:
            return _null(schema)
        return MEMBER

    def _object(self, value: dict[str, Any], rule: MapRule) -> FieldSet:
        if rule.atomic and not self._strict:
            return MEMBER
        children = self._entries(value, rule)
        return MEMBER if rule.atomic else FieldSet.node(children)

    def _array(self, value: list[Any], rule: ListRule) -> FieldSet:
        if rule.kind != "atomic":
            return self._items(value, rule)
        if self._strict:
            for index, item in enumerate(value):
                try:
                    self.of(item, rule.item())
                except MergeProblem as problem:
                    raise problem.under(f"i:{index}") from None
        return MEMBER

    def _entries(self, value: dict[str, Any], rule: MapRule) -> dict[str, FieldSet]:
        children: dict[str, FieldSet] = {}
        for name, item in value.items():
            element = field_element(name)
            if self._strict and not rule.allows(name):
                raise MergeProblem("field not declared in schema", f".{name}")
            try:
                child = self.of(item, rule.child(name))
            except MergeProblem as problem:
                raise problem.under(element) from None
            if item in self._always or name not in rule.fields:
                child = FieldSet(child.children, member=True)
            if child:
                children[element] = child
        return children

    def _items(self, value: list[Any], rule: ListRule) -> FieldSet:
        children: dict[str, FieldSet] = {}
        for index, item in enumerate(value):
            element = _element(rule, item, index)
            if element in children:
                if self._strict:
                    raise MergeProblem(f"duplicate entries for key {_shown(element)}")
                children[element] = MEMBER
                continue
            try:
                child = self.of(item, rule.item())
            except MergeProblem as problem:
                raise problem.under(element) from None
            children[element] = FieldSet(child.children, member=True)
        return FieldSet.node(children)


def _null(schema: MergeSchema) -> FieldSet:
    atomic = (schema.map is not None and schema.map.atomic) or (
        schema.map is None and schema.list is not None and schema.list.kind == "atomic"
    )
    return MEMBER if atomic else EMPTY


def _shown(element: str) -> str:
    return MergeProblem("").under(element).path


def _element(rule: ListRule, item: Any, index: int) -> str:
    try:
        return rule.element(item)
    except MergeProblem as problem:
        raise MergeProblem(f"element {index}: {problem.problem}") from None


def with_named_fields(fields: FieldSet, schema: MergeSchema | None) -> FieldSet:
    """The set with every declared field that leads to one of its paths.

    A set of ``spec.a.b`` then also has ``spec`` and ``spec.a`` if these are declared fields; entries of
    free maps and items of lists are not added.
    """
    children: dict[str, FieldSet] = {}
    for element, child in fields.children.items():
        inner: MergeSchema | None = None
        declared = False
        if schema is not None and element.startswith("f:"):
            name = element[2:]
            rule = schema.map
            declared = rule is not None and name in rule.fields
            inner = rule.child(name) if rule is not None else None
        elif schema is not None and schema.list is not None:
            inner = schema.list.item()
        below = with_named_fields(child, inner) if child.children else child
        children[element] = FieldSet(
            below.children, member=child.member or (declared and bool(child.children))
        )
    return FieldSet.node(children, member=fields.member)


# The difference of two documents


class Comparison(NamedTuple):
    """What changed between two documents, by path."""

    added: FieldSet = EMPTY
    modified: FieldSet = EMPTY
    removed: FieldSet = EMPTY

    def without(self, ignored: FieldSet) -> "Comparison":
        """The same without what is at or below some paths."""
        return Comparison(
            self.added.without(ignored),
            self.modified.without(ignored),
            self.removed.without(ignored),
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


_SAME: Final = Comparison()
_ADDED: Final = Comparison(added=MEMBER)
_MODIFIED: Final = Comparison(modified=MEMBER)
_REMOVED: Final = Comparison(removed=MEMBER)


def compare(old: Any, new: Any, schema: MergeSchema) -> Comparison:
    """Which paths a change adds, modifies and removes.

    Raises:
        MergeProblem: an item of a set or map cannot be named.
    """
    return _compare(old, new, schema)


def _compare(old: Any, new: Any, schema: MergeSchema) -> Comparison:
    if old is ABSENT:
        return Comparison(added=_everything(new, schema))
    if new is ABSENT:
        return Comparison(removed=_everything(old, schema))
    before, after = shape_of(old), shape_of(new)
    if before == after or after is None or before is None:
        return _compare_shape(after or before or "scalar", old, new, schema)
    left = _compare_shape(before, old, new, schema)
    right = _compare_shape(after, old, new, schema)
    return Comparison(*(one | other for one, other in zip(left, right, strict=True)))


def everything_in(document: dict[str, Any], schema: MergeSchema, ignored: FieldSet) -> FieldSet:
    """What a document adds to nothing, without ignored fields: those of the top and of ``metadata``.

    Raises:
        MergeProblem: an item of a set or map cannot be named.
    """
    rule = schema.rule_for_map()
    children: dict[str, FieldSet] = {}
    for name, value in document.items():
        element = field_element(name)
        out = ignored.children.get(element)
        if out is None:
            children[element] = _everything(value, rule.child(name))
        elif out.children and isinstance(value, dict):
            inner = rule.child(name).rule_for_map()
            kept = {
                below: _everything(item, inner.child(key))
                for key, item in value.items()
                if (below := field_element(key)) not in out.children
            }
            children[element] = FieldSet(kept)
    return FieldSet.node({element: child for element, child in children.items() if child})


def _everything(value: Any, schema: MergeSchema) -> FieldSet:
    """The paths of a value that appears or vanishes as a whole: those of its containers too."""
    if isinstance(value, dict):
        rule = schema.rule_for_map()
        if rule.atomic or not value:
            return MEMBER
        children: dict[str, FieldSet] = {}
        for name, item in value.items():
            element = field_element(name)
            try:
                children[element] = _everything(item, rule.child(name))
            except MergeProblem as problem:
                raise problem.under(element) from None
        return FieldSet(children, member=True)
    if isinstance(value, list):
        items = schema.rule_for_list()
        if items.kind == "atomic" or not value:
            return MEMBER
        return FieldSet(dict(_every_item(value, items)), member=True)
    return MEMBER


def _every_item(value: list[Any], rule: ListRule) -> Iterator[tuple[str, FieldSet]]:
    for element, items in grouped(value, rule).items():
        try:
            yield element, _everything(items[0], rule.item()) if len(items) == 1 else MEMBER
        except MergeProblem as problem:
            raise problem.under(element) from None


def _unchanged(old: Any, new: Any) -> bool:
    """Whether two containers are surely equal; true and 1 make it unsure."""
    return bool(old == new) and _ENCODER.encode(old) == _ENCODER.encode(new)


def _compare_shape(shape: Shape, old: Any, new: Any, schema: MergeSchema) -> Comparison:
    if shape == "scalar":
        return _compare_leaf(old, new)
    if _unchanged(old, new):
        return _SAME
    if shape == "map":
        rule = schema.rule_for_map()
        left = old if isinstance(old, dict) else {}
        right = new if isinstance(new, dict) else {}
        if rule.atomic or not (left or right):
            return _compare_leaf(old, new)
        return _compare_entries(left, right, rule)
    items = schema.rule_for_list()
    first = old if isinstance(old, list) else []
    second = new if isinstance(new, list) else []
    if items.kind == "atomic" or not (first or second):
        return _compare_leaf(old, new)
    return _compare_items(first, second, items)


def _compare_leaf(old: Any, new: Any) -> Comparison:
    return _SAME if same(old, new) else _MODIFIED


class _Collector:
    def __init__(self) -> None:
        self._parts: tuple[dict[str, FieldSet], ...] = ({}, {}, {})

    def add(self, element: str, found: Comparison) -> None:
        if found is _SAME:
            return
        for part, fields in zip(self._parts, found, strict=True):
            if fields:
                known = part.get(element)
                part[element] = fields if known is None else known | fields

    def result(self) -> Comparison:
        if not any(self._parts):
            return _SAME
        return Comparison(*map(FieldSet.node, self._parts))


def _compare_entries(left: dict[str, Any], right: dict[str, Any], rule: MapRule) -> Comparison:
    found = _Collector()
    for name in (*left, *(name for name in right if name not in left)):
        old, new = left.get(name, ABSENT), right.get(name, ABSENT)
        if old is new:
            continue
        element = field_element(name)
        try:
            found.add(element, _compare(old, new, rule.child(name)))
        except MergeProblem as problem:
            raise problem.under(element) from None
    return found.result()


def grouped(items: list[Any], rule: ListRule) -> dict[str, list[Any]]:
    """The items of a set or map by their element; more than one are duplicates.

    Raises:
        MergeProblem: an item cannot be named.
    """
    groups: dict[str, list[Any]] = {}
    for index, item in enumerate(items):
        groups.setdefault(_element(rule, item, index), []).append(item)
    return groups


def _compare_items(first: list[Any], second: list[Any], rule: ListRule) -> Comparison:
    found = _Collector()
    left, right = grouped(first, rule), grouped(second, rule)
    for element in (*left, *(element for element in right if element not in left)):
        try:
            _compare_group(
                element, left.get(element, []), right.get(element, []), rule.item(), found
            )
        except MergeProblem as problem:
            raise problem.under(element) from None
    return found.result()


def _compare_group(
    element: str, left: list[Any], right: list[Any], schema: MergeSchema, found: _Collector
) -> None:
    if len(left) <= 1 and len(right) <= 1:
        old = left[0] if left else ABSENT
        new = right[0] if right else ABSENT
        found.add(element, _compare(old, new, schema))
    elif len(left) > 1 and len(right) > 1:
        found.add(element, _SAME if same(left, right) else _MODIFIED)
    elif len(left) > 1:
        # duplicates are owned as one; a single item that stays is new
        if right:
            found.add(element, _compare(ABSENT, right[0], schema))
        found.add(element, _REMOVED)
    else:
        if left:
            found.add(element, _compare(left[0], ABSENT, schema))
        found.add(element, _ADDED)
