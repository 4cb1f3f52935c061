"""Constant arguments: what is wrong with them is known before anything is evaluated."""

from collections.abc import Callable, Iterator
from typing import Any

from knarr.apiserver.cel.library.formatting import clause_problem, clauses
from knarr.apiserver.cel.patterns import PATTERN_FUNCTIONS, pattern_problem
from knarr.apiserver.cel.syntax import Call, Constant, Issue, ListNode, Node, children
from knarr.apiserver.cel.times import BadTime, parse_duration_text, parse_timestamp_text


def constant_issues(root: Node, kind_of: Callable[[Node], str]) -> Iterator[Issue]:
    """Constants that would fail whenever they are evaluated.

    Args:
        root: a tree without other errors.
        kind_of: the name of the type of a list's entry.
    """
    stack: list[Node] = [root]
    while stack:
        node = stack.pop()
        stack += children(node)
        if not isinstance(node, Call) or not node.args:
            continue
        if isinstance(node.target, Constant) and node.function == "format":
            yield from _format_issues(node.target.value, node.args[0], kind_of)
        argument = node.args[-1 if node.target is None else 0]
        if isinstance(argument, Constant):
            yield from _argument_issue(node, argument, argument.value)


def _format_issues(template: Any, items: Node, kind_of: Callable[[Node], str]) -> Iterator[Issue]:
    if not isinstance(template, str) or not isinstance(items, ListNode) or items.optional:
        return
    used = 0
    for kind, _, _ in clauses(template):
        if kind is None:
            break
        if used >= len(items.items):
            yield Issue(items.at, f"index {used} out of range")
            return
        item = items.items[used]
        problem = clause_problem(kind, kind_of(item))
        if problem:
            yield Issue(item.at, problem)
            return
        used += 1
    if used < len(items.items):
        text = f"too many arguments supplied to string.format (expected {used}, got {len(items.items)})"
        yield Issue(items.at, text)


def _argument_issue(node: Call, argument: Constant, value: Any) -> Iterator[Issue]:
    name = node.function
    try:
        if name == "duration" and node.target is None and isinstance(value, str):
            parse_duration_text(value)
        elif name == "timestamp" and node.target is None and isinstance(value, str):
            parse_timestamp_text(value)
        elif name in PATTERN_FUNCTIONS and isinstance(value, str) and pattern_problem(value):
            yield Issue(argument.at, f"invalid {name} argument")
    except BadTime:
        yield Issue(argument.at, f"invalid {name} argument")
