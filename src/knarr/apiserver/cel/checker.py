"""Types of expressions, found out before anything is evaluated (cel-go ``checker``)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from knarr.apiserver.cel.constants import constant_issues
from knarr.apiserver.cel.declarations import TYPE_NAMES, Overload, functions
from knarr.apiserver.cel.syntax import (
    Call,
    CompileError,
    Conditional,
    Constant,
    Ident,
    Issue,
    Junction,
    ListNode,
    Macro,
    MapNode,
    Message,
    Node,
    Select,
    children,
)
from knarr.apiserver.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    UINT,
    Substitution,
    Type,
    is_dyn,
    less_specific,
    list_of,
    map_of,
    optional_of,
    renamed,
)
from knarr.apiserver.cel.values import Uint

_LITERALS: Final = {
    bool: BOOL, int: INT, Uint: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL,
}  # fmt: skip
_SORTABLE: Final = ("int", "uint", "double", "bool", "google.protobuf.Duration",
                    "google.protobuf.Timestamp", "string", "bytes")  # fmt: skip


class Checked:
    """What the checker found.

    Attributes:
        kind: of the whole expression.
        functions: nodes that are calls of a function with a dotted name, and that name.
        names: nodes that are names with dots.
        used: the variables that occur.
    """

    def __init__(self) -> None:
        self.kind = DYN
        self.functions: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.used: set[str] = set()


def check(source: str, root: Node, variables: Mapping[str, Type]) -> Checked:
    """Check an expression.

    Args:
        source: its text, for errors.
        root: its tree.
        variables: the types of the variables.

    Raises:
        CompileError: with everything that is wrong.
    """
    checker = _Checker(variables)
    kind = checker.check(root)
    checker.found.kind = checker.types.apply(kind, open_as_dyn=True)
    issues = checker.issues or [*checker.mixed(), *constant_issues(root, checker.kind_of)]
    if issues:
        unique = dict.fromkeys(sorted(issues, key=lambda issue: issue.at))
        raise CompileError(source, unique)
    return checker.found


class _Checker:
    def __init__(self, variables: Mapping[str, Type]) -> None:
        self.types = Substitution()
        self.found = Checked()
        self.issues: list[Issue] = []
        self.groups: list[list[tuple[Node, Type]]] = []
        self.kinds: dict[int, Type] = {}
        self._scopes: list[Mapping[str, Type]] = [variables]
        self._fresh = 0

    def kind_of(self, node: Node) -> str:
        """The name of the type of a list's or map's entry."""
        return self.types.apply(self.kinds.get(id(node), DYN), open_as_dyn=True).name

    def _suffix(self) -> str:
        self._fresh += 1
        return f"'{self._fresh}"

    def _issue(self, node: Node, message: str) -> Type:
        self.issues.append(Issue(node.at, message))
        return ERROR

    def _now(self, kind: Type) -> Type:
        return self.types.apply(kind)

    @contextmanager
    def _inside(self, variables: Mapping[str, Type]) -> Iterator[None]:
        self._scopes.append(variables)
        yield
        self._scopes.pop()

    def check(self, node: Node) -> Type:  # noqa: C901, PLR0911 - one line per kind of node
        """The type of a node."""
        match node:
            case Constant():
                return _LITERALS[type(node.value)]
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case Junction():
                return self._junction(node)
            case Conditional():
                args = [self.check(each) for each in children(node)]
                return self._resolve(node, "_?_:_", args, method=False)
            case ListNode():
                return self._list(node)
            case MapNode():
                return self._map(node)
            case Macro():
                return self._macro(node)
            case Message():
                return self._undeclared(node, node.name)

    # Names

    def _lookup(self, name: str) -> Type | None:
        scopes = self._scopes[:1] if name.startswith(".") else reversed(self._scopes)
        plain = name.removeprefix(".")
        for scope in scopes:
            if plain in scope:
                if scope is self._scopes[0]:
                    self.found.used.add(plain)
                return scope[plain]
        return Type("type", (_named(plain),)) if plain in TYPE_NAMES else None

    def _undeclared(self, node: Node, name: str) -> Type:
        plain = name.removeprefix(".")
        return self._issue(node, f"undeclared reference to '{plain}' (in container '')")

    def _ident(self, node: Ident) -> Type:
        found = self._lookup(node.name)
        return self._undeclared(node, node.name) if found is None else found

    def _select(self, node: Select) -> Type:
        dotted = qualified(node)
        if dotted and not node.test and self._lookup(dotted.partition(".")[0]) is None:
            found = self._lookup(dotted)
            if found is not None:
                self.found.names[id(node)] = dotted
                return found
        operand = self._now(self.check(node.operand))
        target, lifted = operand, node.optional
        if operand.name == "optional_type":
            target, lifted = operand.params[0], True
        result = self._field(node, target)
        if node.test:
            return BOOL
        return optional_of(result) if lifted else result

    def _field(self, node: Select, target: Type) -> Type:
        target = self._now(target)
        if target.variable:
            self.types.assignable(DYN, target)
            return DYN
        if is_dyn(target):
            return DYN
        if target.name == "map":
            return target.params[1]
        if target.fields is None:
            return self._issue(node, f"type '{target}' does not support field selection")
        found = target.fields.get(node.field)
        return self._issue(node, f"undefined field '{node.field}'") if found is None else found

    # Calls

    def _call(self, node: Call) -> Type:
        known = functions()
        name, target = node.function.removeprefix("."), node.target
        if target is not None:
            dotted = f"{qualified(target)}.{name}".removeprefix(".")
            if qualified(target) and dotted in known:
                self.found.functions[id(node)] = dotted
                args = [self.check(arg) for arg in node.args]
                return self._resolve(node, dotted, args, method=False)
        before = [self.check(target)] if target is not None else []
        groups = len(self.groups)
        args = [*before, *(self.check(arg) for arg in node.args)]
        if name == "format":
            # its arguments are a list only in form
            del self.groups[groups:]
        if name not in known:
            return self._undeclared(node, name)
        return self._resolve(node, name, args, method=target is not None)

    def _resolve(self, node: Node, name: str, args: list[Type], *, method: bool) -> Type:
        if ERROR in args:
            return ERROR
        result: Type | None = None
        for overload in functions()[name]:
            found = self._try(overload, args, method=method)
            if found is None:
                continue
            if result is None:
                result = found
            elif not is_dyn(result) and found != result:
                result = DYN
        if result is not None:
            return result
        shown = [str(self.types.apply(arg, open_as_dyn=True)) for arg in args]
        text = f"{shown[0]}.({', '.join(shown[1:])})" if method else f"({', '.join(shown)})"
        return self._issue(node, f"found no matching overload for '{name}' applied to '{text}'")

    def _try(self, overload: Overload, args: list[Type], *, method: bool) -> Type | None:
        if overload.method != method or len(overload.params) != len(args):
            return None
        suffix = self._suffix()
        if not self.types.all_assignable(args, [renamed(each, suffix) for each in overload.params]):
            return None
        return self._now(renamed(overload.result, suffix))

    def _expect(self, node: Node, wanted: Type, kind: Type) -> None:
        if not self.types.assignable(kind, wanted):
            shown = self.types.apply(kind, open_as_dyn=True)
            self._issue(node, f"expected type '{wanted}' but found '{shown}'")

    def _junction(self, node: Junction) -> Type:
        for operand in node.operands:
            self._expect(operand, BOOL, self.check(operand))
        return BOOL

    # Lists and maps

    def _list(self, node: ListNode) -> Type:
        group: list[tuple[Node, Type]] = []
        for index, item in enumerate(node.items):
            kind = self.check(item)
            group.append((item, self._unwrapped(item, kind) if index in node.optional else kind))
        return list_of(self._join(group))

    def _map(self, node: MapNode) -> Type:
        keys: list[tuple[Node, Type]] = []
        values: list[tuple[Node, Type]] = []
        for index, (key, value) in enumerate(node.entries):
            keys.append((key, self.check(key)))
            kind = self.check(value)
            values.append((value, self._unwrapped(value, kind) if index in node.optional else kind))
        return map_of(self._join(keys), self._join(values))

    def _unwrapped(self, node: Node, kind: Type) -> Type:
        now = self._now(kind)
        if now.name == "optional_type":
            return now.params[0]
        if not is_dyn(now):
            self._issue(node, f"expected type 'optional_type({now})' but found '{now}'")
        return DYN

    def _join(self, group: list[tuple[Node, Type]]) -> Type:
        """The type of what stands in one list."""
        if not group:
            return Type(self._suffix(), variable=True)
        self.groups.append(group)
        joined = group[0][1]
        for item, kind in group:
            self.kinds[id(item)] = kind
            if self.types.assignable(joined, kind):
                one, other = self._now(joined), self._now(kind)
                joined = one if less_specific(one, other) else other
            else:
                joined = DYN
        return joined

    def mixed(self) -> Iterator[Issue]:
        """Lists and maps whose entries are not of one type."""
        for group in self.groups:
            kinds = [self.types.apply(kind, open_as_dyn=True) for _, kind in group]
            for (item, _), kind in zip(group, kinds, strict=True):
                if kind != kinds[0]:
                    yield Issue(item.at, f"expected type '{kinds[0]}' but found '{kind}'")

    # Macros

    def _macro(self, node: Macro) -> Type:
        operand = self._now(self.check(node.operand))
        if node.name in ("optMap", "optFlatMap"):
            return self._optional_macro(node, operand)
        element, index = self._elements(node, operand)
        kinds = (index or INT, element) if len(node.variables) == 2 else (
            element if index is None else index,
        )  # fmt: skip
        with self._inside(dict(zip(node.variables, kinds, strict=True))):
            test = self.check(node.condition) if node.condition is not None else BOOL
            body = self.check(node.body)
            if node.name == "filter":
                test = body
            if not self.types.assignable(test, BOOL):
                return self._unfit_filter(node, test, kinds[0] if node.name == "filter" else body)
            return self._macro_result(node, operand, kinds, body)

    def _elements(self, node: Macro, operand: Type) -> tuple[Type, Type | None]:
        """The type of what a loop is over, and of a map's keys."""
        if operand.name == "list":
            return operand.params[0], None
        if operand.name == "map":
            return operand.params[1], operand.params[0]
        if operand.variable:
            self.types.assignable(DYN, operand)
        elif not is_dyn(operand):
            self._issue(
                node.operand,
                f"expression of type '{operand}' cannot be range of a comprehension "
                "(must be list, map, or dynamic)",
            )
        return DYN, DYN if operand.name != "list" and len(node.variables) == 2 else None

    def _macro_result(  # noqa: PLR0911 - one per macro
        self, node: Macro, operand: Type, kinds: tuple[Type, ...], body: Type
    ) -> Type:
        match node.name:
            case "all" | "exists" | "existsOne":
                self._expect(node.body, BOOL, body)
                return BOOL
            case "filter":
                return list_of(kinds[0])
            case "transformMap":
                return map_of(kinds[0], body)
            case "transformMapEntry":
                now = self._now(body)
                if now.name != "map" and not is_dyn(now):
                    return self._issue(node.body, f"expected type 'map' but found '{now}'")
                return now
            case "sortBy":
                now = self._now(body)
                if now.name not in _SORTABLE and not is_dyn(now):
                    text = f"list({operand.params[0] if operand.params else DYN}).(list({now}))"
                    self._issue(
                        node, "found no matching overload for '@sortByAssociatedKeys' applied to "
                        f"'{text}'",
                    )  # fmt: skip
                return operand
            case _:
                return list_of(body)

    def _unfit_filter(self, node: Macro, test: Type, kept: Type) -> Type:
        shown = [self.types.apply(each, open_as_dyn=True) for each in (test, list_of(kept))]
        text = f"(bool, {shown[1]}, {shown[1]})".replace("bool", str(shown[0]), 1)
        return self._issue(node, f"found no matching overload for '_?_:_' applied to '{text}'")

    def _optional_macro(self, node: Macro, operand: Type) -> Type:
        inner = DYN
        if operand.name == "optional_type":
            inner = operand.params[0]
        elif not is_dyn(operand):
            text = f"found no matching overload for 'hasValue' applied to '{operand}.()'"
            return self._issue(node, text)
        with self._inside({node.variables[0]: inner}):
            body = self._now(self.check(node.body))
        if node.name == "optMap":
            return optional_of(body)
        self._expect(node.body, optional_of(Type(self._suffix(), variable=True)), body)
        return body


def qualified(node: Node) -> str:
    """``a.b.c`` of a chain of plain names, otherwise empty."""
    if isinstance(node, Ident):
        return node.name.removeprefix(".")
    if isinstance(node, Select) and not node.test and not node.optional:
        prefix = qualified(node.operand)
        return f"{prefix}.{node.field}" if prefix else ""
    return ""


def _named(name: str) -> Type:
    if name == "list":
        return list_of(DYN)
    return map_of(DYN, DYN) if name == "map" else Type(name)
