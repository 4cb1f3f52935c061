"""From a checked tree to a function that computes its value.

Variables live in a frame, a list; each node becomes a closure over the frame. A loop pays for its body
before every round, so that an evaluation ends within its budget whatever the data are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from knarr.apiserver.cel.checker import Checked
from knarr.apiserver.cel.declarations import TYPE_NAMES
from knarr.apiserver.cel.library.addresses import ADDRESSES
from knarr.apiserver.cel.library.formatting import format_text
from knarr.apiserver.cel.library.kubernetes import KUBERNETES
from knarr.apiserver.cel.library.lists import LISTS
from knarr.apiserver.cel.library.operators import OPERATORS
from knarr.apiserver.cel.library.strings import STRINGS
from knarr.apiserver.cel.loops import LOOPS, Frame, Step, check_key, optional_map, rounds_of
from knarr.apiserver.cel.syntax import (
    Call,
    Conditional,
    Constant,
    Ident,
    Junction,
    ListNode,
    Macro,
    MapNode,
    Message,
    Node,
    Select,
    children,
)
from knarr.apiserver.cel.values import (
    ABSENT,
    Broken,
    Budget,
    EvalError,
    NoOverload,
    Optional,
    TypeValue,
    checked,
)

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **OPERATORS, **STRINGS, **LISTS, **KUBERNETES, **ADDRESSES, "format": format_text,
}  # fmt: skip


class Program:
    """An expression that can be evaluated any number of times.

    Args:
        root: the tree.
        found: what the checker found.
        variables: names, in the order in which values are given.
    """

    def __init__(self, root: Node, found: Checked, variables: Sequence[str]) -> None:
        compiler = _Compiler(found, variables)
        self._step = compiler.compile(root)
        self._weight = weight(root)
        self._slots = compiler.slots
        self.used = frozenset(found.used)
        self.kind = found.kind

    def evaluate(self, values: Sequence[Any], budget: Budget) -> Any:
        """The value of the expression.

        Raises:
            EvalError: there is none.
            OutOfBudget: it costs too much.
        """
        budget.spend(self._weight)
        frame: Frame = [budget, *values]
        frame += [None] * (self._slots - len(frame))
        return self._step(frame)


def weight(node: Node) -> int:
    """The number of nodes of a tree."""
    return 1 + sum(map(weight, children(node)))


class _Compiler:
    def __init__(self, found: Checked, variables: Sequence[str]) -> None:
        self._found = found
        self._scope: dict[str, int] = {name: at for at, name in enumerate(variables, 1)}
        self._outer = dict(self._scope)
        self.slots = len(variables) + 1

    def compile(self, node: Node) -> Step:  # noqa: C901, PLR0911 - one line per kind of node
        """The closure of a node."""
        match node:
            case Constant(value=value):
                return lambda _: value
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case Junction():
                return _junction([self.compile(each) for each in node.operands], node.conjunction)
            case Conditional():
                return _conditional(*map(self.compile, (node.condition, node.yes, node.no)))
            case ListNode():
                return _list([self.compile(each) for each in node.items], node.optional)
            case MapNode():
                pairs = [(self.compile(key), self.compile(value)) for key, value in node.entries]
                return _map(pairs, node.optional)
            case Macro():
                return self._macro(node)
            case Message():
                raise ValueError("messages are refused by the checker")

    def _ident(self, node: Ident) -> Step:
        scope = self._outer if node.name.startswith(".") else self._scope
        name = node.name.removeprefix(".")
        if name not in scope:
            kind = TypeValue(name)
            return lambda _: kind
        slot = scope[name]

        def read(frame: Frame) -> Any:
            value = frame[slot]
            return checked(value) if type(value) is Broken else value

        return read

    def _select(self, node: Select) -> Step:
        name = self._found.names.get(id(node))
        if name is not None and name in TYPE_NAMES:
            kind = TypeValue(name)
            return lambda _: kind
        operand = self.compile(node.operand)
        if node.test:
            return _presence(operand, node.field)
        return _selection(operand, node.field, optional=node.optional)

    def _call(self, node: Call) -> Step:
        dotted = self._found.functions.get(id(node))
        if dotted is not None:
            return _application(FUNCTIONS[dotted], [self.compile(arg) for arg in node.args])
        name = node.function.removeprefix(".")
        targets = () if node.target is None else (node.target,)
        steps = [self.compile(arg) for arg in (*targets, *node.args)]
        if name in ("or", "orValue"):
            return _alternative(*steps, whole=name == "or")
        return _application(FUNCTIONS[name], steps)

    def _macro(self, node: Macro) -> Step:
        operand = self.compile(node.operand)
        outer = dict(self._scope)
        slots = []
        for name in node.variables:
            self._scope[name] = self.slots
            slots.append(self.slots)
            self.slots += 1
        body = self.compile(node.body)
        condition = self.compile(node.condition) if node.condition is not None else None
        self._scope = outer
        if node.name in ("optMap", "optFlatMap"):
            return optional_map(operand, body, slots[0], flat=node.name == "optFlatMap")
        cost = weight(node.body) + (weight(node.condition) if node.condition is not None else 0)
        rounds = rounds_of(operand, slots, cost)
        return LOOPS[node.name](rounds, body, condition)


# Plain nodes


def _application(function: Callable[..., Any], steps: list[Step]) -> Step:
    match steps:
        case []:
            return lambda frame: function(frame[0])
        case [one]:
            return lambda frame: function(frame[0], one(frame))
        case [one, two]:
            return lambda frame: function(frame[0], one(frame), two(frame))
        case _:
            return lambda frame: function(frame[0], *[step(frame) for step in steps])


def _conditional(condition: Step, yes: Step, no: Step) -> Step:
    def apply(frame: Frame) -> Any:
        value = condition(frame)
        if value is True:
            return yes(frame)
        if value is False:
            return no(frame)
        raise NoOverload

    return apply


def _junction(steps: list[Step], conjunction: bool) -> Step:  # noqa: FBT001 - and, or
    decisive = not conjunction

    def apply(frame: Frame) -> bool:
        failure: EvalError | None = None
        for step in steps:
            try:
                value = step(frame)
                if not isinstance(value, bool):
                    raise NoOverload
            except EvalError as error:
                failure = failure or error
                continue
            if value is decisive:
                return decisive
        if failure is not None:
            raise failure
        return conjunction

    return apply


def _field(container: Any, name: str) -> tuple[bool, Any]:
    if not isinstance(container, dict):
        raise NoOverload
    if name in container:
        return True, container[name]
    return False, None


def _selection(operand: Step, name: str, *, optional: bool) -> Step:
    def lifted(container: Any) -> Optional:
        if isinstance(container, Optional):
            if not container.present:
                return ABSENT
            container = container.value
        present, value = _field(container, name)
        return Optional(present=True, value=checked(value)) if present else ABSENT

    def apply(frame: Frame) -> Any:
        container = operand(frame)
        if isinstance(container, dict):
            try:
                value = container[name]
            except KeyError:
                raise EvalError(f"no such key: {name}") from None
            return checked(value) if type(value) is Broken else value
        if isinstance(container, Optional):
            return lifted(container)
        raise NoOverload

    return (lambda frame: lifted(operand(frame))) if optional else apply


def _presence(operand: Step, name: str) -> Step:
    def apply(frame: Frame) -> bool:
        container = operand(frame)
        if isinstance(container, Optional):
            if not container.present:
                return False
            container = container.value
        return _field(container, name)[0]

    return apply


def _alternative(target: Step, other: Step, *, whole: bool) -> Step:
    def apply(frame: Frame) -> Any:
        value = target(frame)
        if not isinstance(value, Optional):
            raise NoOverload
        if value.present:
            return value if whole else value.value
        return other(frame)

    return apply


def _list(steps: list[Step], optional: frozenset[int]) -> Step:
    def apply(frame: Frame) -> list[Any]:
        result = []
        for index, step in enumerate(steps):
            value = step(frame)
            if index in optional:
                if not isinstance(value, Optional):
                    raise NoOverload
                if not value.present:
                    continue
                value = value.value
            result.append(value)
        return result

    return apply


def _map(pairs: list[tuple[Step, Step]], optional: frozenset[int]) -> Step:
    def apply(frame: Frame) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for index, (key_step, step) in enumerate(pairs):
            key, value = key_step(frame), step(frame)
            if index in optional:
                if not isinstance(value, Optional):
                    raise NoOverload
                if not value.present:
                    continue
                value = value.value
            check_key(key)
            result[key] = value
        return result

    return apply
