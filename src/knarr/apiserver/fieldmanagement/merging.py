"""The merge of an applied configuration into the live document, and the removal of paths."""

from collections.abc import Iterator
from typing import Any

from knarr.apiserver.fieldmanagement.documents import ABSENT, grouped
from knarr.apiserver.fieldmanagement.elements import MergeProblem, field_element
from knarr.apiserver.fieldmanagement.fieldset import FieldSet
from knarr.apiserver.fieldmanagement.schema import ListRule, MapRule, MergeSchema, shape_of


def merge(live: Any, config: Any, schema: MergeSchema) -> Any:
    """The live document with everything that the configuration says; the arguments are not changed.

    Objects and keyed lists are merged, atomic parts and scalars come from the configuration. Items that
    both have stand in the configuration's order, the others keep their place.

    Raises:
        MergeProblem: an item of a set or map cannot be named, or the configuration has it twice.
    """
    shape = shape_of(config)
    # null does not empty a container whose parts have owners of their own
    if live is ABSENT or not (live or config) or shape not in (None, shape_of(live)):
        return config
    if isinstance(live, dict):
        rule = schema.rule_for_map()
        return config if rule.atomic else _merge_entries(live, config or {}, rule)
    if isinstance(live, list):
        items = schema.rule_for_list()
        return config if items.kind == "atomic" else _merge_items(live, config or [], items)
    return config


def _merge_entries(live: dict[str, Any], config: dict[str, Any], rule: MapRule) -> dict[str, Any]:
    result = dict(live)
    for name, value in config.items():
        try:
            result[name] = merge(live.get(name, ABSENT), value, rule.child(name))
        except MergeProblem as problem:
            raise problem.under(field_element(name)) from None
    return result


def _merge_items(live: list[Any], config: list[Any], rule: ListRule) -> list[Any]:
    mine, theirs = grouped(config, rule), grouped(live, rule)
    for element, items in mine.items():
        if len(items) > 1:
            shown = MergeProblem("").under(element).path
            raise MergeProblem(f"duplicate entries for key {shown}")
    result: list[Any] = []
    order = [rule.element(item) for item in live]
    remaining = {element: iter(items) for element, items in theirs.items()}
    for element in _merged_order(order, list(mine)):
        if element not in mine:
            result.append(next(remaining[element]))
            continue
        known = theirs.get(element, [])
        # duplicates are replaced by the one item of the configuration
        old = known[0] if len(known) == 1 else ABSENT
        try:
            result.append(merge(old, mine[element][0], rule.item()))
        except MergeProblem as problem:
            raise problem.under(element) from None
    return result


def _merged_order(live: list[str], config: list[str]) -> Iterator[str]:
    wanted, present = set(config), set(live)
    shared = [element for element in config if element in present]
    done: set[str] = set()
    at_live, at_config, at_shared = 0, 0, 0
    while at_live < len(live) or at_config < len(config):
        head = live[at_live] if at_live < len(live) else None
        ours = config[at_config] if at_config < len(config) else None
        next_shared = shared[at_shared] if at_shared < len(shared) else None
        if head is not None and head not in wanted:
            at_live += 1
            yield head
        elif head is not None and head != ours and (head in done or head != next_shared):
            at_live += 1
        elif ours is not None:
            at_live += head == ours
            at_config += 1
            at_shared += ours == next_shared
            done.add(ours)
            yield ours


def remove(document: Any, fields: FieldSet, schema: MergeSchema) -> Any:
    """The document without the parts at some paths; atomic parts go whole or stay."""
    if not fields.children:
        return document
    if isinstance(document, dict):
        rule = schema.rule_for_map()
        return document if rule.atomic else _remove_entries(document, fields, rule)
    if isinstance(document, list):
        items = schema.rule_for_list()
        return document if items.kind == "atomic" else _remove_items(document, fields, items)
    return document


def _remove_entries(document: dict[str, Any], fields: FieldSet, rule: MapRule) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in document.items():
        gone = fields.children.get(field_element(name))
        if gone is None:
            result[name] = value
        elif not gone.member:
            result[name] = remove(value, gone, rule.child(name))
    return result


def _remove_items(document: list[Any], fields: FieldSet, rule: ListRule) -> list[Any]:
    result: list[Any] = []
    for item in document:
        gone = fields.children.get(rule.element(item))
        if gone is None:
            result.append(item)
        elif not gone.member:
            result.append(remove(item, gone, rule.item()))
    return result


def reconcile(fields: FieldSet, schema: MergeSchema) -> FieldSet:
    """The set after the schema changed: what became atomic is owned as a whole, and nothing below it.

    A part that was atomic and became granular keeps its owner, who then owns nothing below it.
    """
    if not fields.children or _is_untyped(schema):
        return fields
    children: dict[str, FieldSet] = {}
    changed = False
    for element, child in fields.children.items():
        inner = _child_schema(schema, element)
        after = child if inner is None else _reconciled_child(child, inner)
        changed |= after is not child
        children[element] = after
    return FieldSet(children, member=fields.member) if changed else fields


def _is_untyped(schema: MergeSchema) -> bool:
    rule = schema.map
    return rule is not None and rule.free and not rule.fields and not rule.atomic


def _child_schema(schema: MergeSchema, element: str) -> MergeSchema | None:
    if element.startswith("f:"):
        rule = schema.map
        if rule is None or not rule.allows(element[2:]):
            return None
        return rule.child(element[2:])
    return schema.list.item() if schema.list is not None else None


def _reconciled_child(child: FieldSet, schema: MergeSchema) -> FieldSet:
    if not child.children:
        return child
    if schema.map is not None:
        atomic = schema.map.atomic
    else:
        atomic = schema.list is not None and schema.list.kind == "atomic"
    return FieldSet(member=True) if atomic else reconcile(child, schema)
