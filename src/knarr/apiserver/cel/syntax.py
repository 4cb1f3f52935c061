"""Trees of expressions, and errors with the place they are about.

``&&`` and ``||`` have any number of operands. Macros stay nodes of their own: nothing is expanded into
folds, so that errors and costs can be told by what was written.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

MacroName = Literal[
    "all", "exists", "existsOne", "map", "filter", "transformList", "transformMap",
    "transformMapEntry", "sortBy", "optMap", "optFlatMap",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with an expression; ``at`` is an offset in characters."""

    at: int
    message: str


class CompileError(Exception):
    """An expression that cannot be used.

    The text is that of cel-go: message, line, and a mark under the place.
    """

    def __init__(self, source: str, issues: Iterable[Issue]) -> None:
        self.issues = tuple(issues)
        super().__init__("\n".join(_shown(source, issue) for issue in self.issues))


def _shown(source: str, issue: Issue) -> str:
    before = source[: issue.at]
    line = before.count("\n")
    column = len(before) - (before.rfind("\n") + 1)
    lines = source.split("\n")
    text = lines[line].replace("\t", " ") if line < len(lines) else ""
    marker = "." * column + "^"
    return f"ERROR: <input>:{line + 1}:{column + 1}: {issue.message}\n | {text}\n | {marker}"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A constant: None, bool, int, Uint, float, str or bytes."""

    at: int
    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Ident:
    """A name; one that began with a dot is looked up at the outermost level."""

    at: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """``operand.field``; ``test`` for ``has()``, ``optional`` for ``operand.?field``."""

    at: int
    operand: "Node"
    field: str
    test: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call of a function, a method (with ``target``) or an operator (``_+_``)."""

    at: int
    function: str
    args: "tuple[Node, ...]"
    target: "Node | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Junction:
    """``&&`` or ``||`` over two or more operands."""

    at: int
    conjunction: bool
    operands: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Conditional:
    """``condition ? yes : no``."""

    at: int
    condition: "Node"
    yes: "Node"
    no: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class ListNode:
    """A list; ``optional`` are the positions of entries that may be left out (``?entry``)."""

    at: int
    items: "tuple[Node, ...]"
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class MapNode:
    """A map; ``optional`` as of lists."""

    at: int
    entries: "tuple[tuple[Node, Node], ...]"
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """A loop over a list or map (or, of ``optMap``, over an optional value).

    Attributes:
        variables: one or two names that the body sees.
        condition: of ``map``, ``transform…`` with a filter.
    """

    at: int
    name: MacroName
    operand: "Node"
    variables: tuple[str, ...]
    body: "Node"
    condition: "Node | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """``Type{field: value}``; there are no message types, so that it is always refused."""

    at: int
    name: str


Node = (
    Constant | Ident | Select | Call | Junction | Conditional | ListNode | MapNode | Macro | Message
)


def children(node: Node) -> tuple[Node, ...]:  # noqa: PLR0911 - one line per kind of node
    """The nodes directly inside a node."""
    match node:
        case Select():
            return (node.operand,)
        case Call():
            return node.args if node.target is None else (node.target, *node.args)
        case Junction():
            return node.operands
        case Conditional():
            return (node.condition, node.yes, node.no)
        case ListNode():
            return node.items
        case MapNode():
            return tuple(part for entry in node.entries for part in entry)
        case Macro():
            inner = (node.operand, node.body)
            return inner if node.condition is None else (*inner, node.condition)
        case _:
            return ()
