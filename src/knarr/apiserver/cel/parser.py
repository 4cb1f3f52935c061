"""From tokens to a tree (cel-spec ``doc/langdef.md``, grammar), macros included."""

from typing import Final

from knarr.apiserver.cel.lexer import RESERVED, LexError, Token, tokens
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
    MacroName,
    MapNode,
    Message,
    Node,
    Select,
    children,
)
from knarr.apiserver.cel.values import MAX_INT

MAX_NESTING: Final = 50
"""Parentheses, brackets and arguments inside each other."""

MAX_DEPTH: Final = 150
"""Levels of a tree, which is walked by recursion."""

MAX_SOURCE: Final = 100_000
"""Characters of an expression."""

_RELATIONS: Final = ("<", "<=", ">", ">=", "==", "!=", "in")
_EXPECTED: Final = (
    "expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "
    "STRING, BYTES, IDENTIFIER}"
)
_MACROS: Final[dict[tuple[str, int], MacroName]] = {
    ("all", 2): "all", ("all", 3): "all", ("exists", 2): "exists", ("exists", 3): "exists",
    ("exists_one", 2): "existsOne", ("exists_one", 3): "existsOne", ("existsOne", 3): "existsOne",
    ("map", 2): "map", ("map", 3): "map", ("filter", 2): "filter",
    ("transformList", 3): "transformList", ("transformList", 4): "transformList",
    ("transformMap", 3): "transformMap", ("transformMap", 4): "transformMap",
    ("transformMapEntry", 3): "transformMapEntry", ("transformMapEntry", 4): "transformMapEntry",
    ("sortBy", 2): "sortBy", ("optMap", 2): "optMap", ("optFlatMap", 2): "optFlatMap",
}  # fmt: skip
_TWO_VARIABLES: Final = frozenset({("all", 3), ("exists", 3), ("exists_one", 3), ("existsOne", 3)})


class _Stop(Exception):
    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.issue = Issue(at, message)


def parse(source: str) -> Node:
    """The tree of an expression.

    Raises:
        CompileError: the text is no expression, or one that is too long or too deep.
    """
    if len(source) > MAX_SOURCE:
        message = (
            f"expression code point size exceeds limit: size: {len(source)}, limit {MAX_SOURCE}"
        )
        raise CompileError(source, [Issue(0, message)])
    try:
        node = _Parser(tokens(source)).whole()
        _check_depth(node)
    except (LexError, _Stop) as error:
        raise CompileError(source, [error.issue]) from None
    return node


def _check_depth(root: Node) -> None:
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _Stop(level[0].at, f"expression recursion limit exceeded: {MAX_DEPTH}")
        level = [inner for node in level for inner in children(node)]


class _Parser:
    def __init__(self, stream: list[Token]) -> None:
        self._stream = stream
        self._index = 0
        self._depth = 0

    @property
    def _now(self) -> Token:
        return self._stream[self._index]

    def _is(self, symbol: str) -> bool:
        return self._now.sort == "symbol" and self._now.value == symbol

    def _take(self) -> Token:
        token = self._now
        self._index += token.sort != "end"
        return token

    def _accept(self, *symbols: str) -> Token | None:
        if self._now.sort == "symbol" and self._now.value in symbols:
            return self._take()
        return None

    def _require(self, symbol: str) -> Token:
        token = self._accept(symbol)
        if token is None:
            now = self._now
            raise _Stop(now.at, f"Syntax error: missing '{symbol}' at '{now.text}'")
        return token

    def whole(self) -> Node:
        """An expression and nothing after it."""
        node = self._expression()
        if self._now.sort != "end":
            text = self._now.text
            raise _Stop(self._now.at, f"Syntax error: extraneous input '{text}' expecting <EOF>")
        return node

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise _Stop(self._now.at, f"expression recursion limit exceeded: {MAX_NESTING}")
        node = self._or()
        question = self._accept("?")
        if question is not None:
            yes = self._or()
            self._require(":")
            node = Conditional(question.at, node, yes, self._expression())
        self._depth -= 1
        return node

    def _or(self) -> Node:
        first = self._and()
        operands, at = [first], -1
        while token := self._accept("||"):
            at = token.at if at < 0 else at
            operands.append(self._and())
        return first if at < 0 else Junction(at, conjunction=False, operands=tuple(operands))

    def _and(self) -> Node:
        first = self._relation()
        operands, at = [first], -1
        while token := self._accept("&&"):
            at = token.at if at < 0 else at
            operands.append(self._relation())
        return first if at < 0 else Junction(at, conjunction=True, operands=tuple(operands))

    def _relation(self) -> Node:
        node = self._sum()
        while token := self._accept(*_RELATIONS):
            name = "@in" if token.value == "in" else f"_{token.value}_"
            node = Call(token.at, name, (node, self._sum()))
        return node

    def _sum(self) -> Node:
        node = self._product()
        while token := self._accept("+", "-"):
            node = Call(token.at, f"_{token.value}_", (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._unary()
        while token := self._accept("*", "/", "%"):
            node = Call(token.at, f"_{token.value}_", (node, self._unary()))
        return node

    def _unary(self) -> Node:
        for symbol, name in (("!", "!_"), ("-", "-_")):
            first = self._accept(symbol)
            if first is None:
                continue
            odd = True
            while self._accept(symbol):
                odd = not odd
            if symbol == "-" and odd and type(self._now.value) in (int, float):
                return self._postfix(Constant(first.at, -self._take().value))
            node = self._member()
            return Call(first.at, name, (node,)) if odd else node
        return self._member()

    def _member(self) -> Node:
        node = self._primary()
        if isinstance(node, Constant) and type(node.value) is int and node.value > MAX_INT:
            raise _Stop(node.at, "invalid int literal")
        return self._postfix(node)

    def _postfix(self, node: Node) -> Node:
        while True:
            if dot := self._accept("."):
                node = self._selection(dot, node)
            elif bracket := self._accept("["):
                optional = self._accept("?") is not None
                index = self._expression()
                self._require("]")
                node = Call(bracket.at, "_[?_]" if optional else "_[_]", (node, index))
            elif self._is("{") and (name := _qualified(node)):
                at = self._take().at
                self._skip_fields()
                return Message(at, name)
            else:
                return node

    def _selection(self, dot: Token, operand: Node) -> Node:
        optional = self._accept("?") is not None
        name = self._field_name()
        if not optional and (paren := self._accept("(")):
            args = self._arguments(")")
            return _member_call(paren.at, operand, name, args)
        return Select(dot.at, operand, name, optional=optional)

    def _field_name(self) -> str:
        token = self._now
        if token.sort != "ident":
            raise _Stop(token.at, f"Syntax error: no viable alternative at input '.{token.text}'")
        self._take()
        return str(token.value)

    def _primary(self) -> Node:
        token = self._now
        if token.sort == "literal":
            self._take()
            return Constant(token.at, token.value)
        if token.sort == "ident":
            return self._name(token, "")
        if self._accept("."):
            if self._now.sort != "ident":
                text = f"Syntax error: mismatched input '{self._now.text}' expecting IDENTIFIER"
                raise _Stop(self._now.at, text)
            return self._name(token, ".")
        if self._accept("("):
            node = self._expression()
            self._require(")")
            return node
        if self._accept("["):
            return self._list(token)
        if self._accept("{"):
            return self._map(token)
        raise _Stop(token.at, f"Syntax error: mismatched input '{token.text}' {_EXPECTED}")

    def _name(self, first: Token, prefix: str) -> Node:
        name = str(self._take().value)
        if paren := self._accept("("):
            args = self._arguments(")")
            if name == "has" and len(args) == 1 and not prefix:
                return _presence(paren.at, args[0])
            return Call(paren.at, prefix + name, args)
        if name in RESERVED:
            raise _Stop(first.at, f"reserved identifier: {name}")
        return Ident(first.at, prefix + name)

    def _arguments(self, close: str) -> tuple[Node, ...]:
        if self._accept(close):
            return ()
        found = [self._expression()]
        while self._accept(","):
            found.append(self._expression())
        self._require(close)
        return tuple(found)

    def _list(self, bracket: Token) -> Node:
        items: list[Node] = []
        optional: set[int] = set()
        if self._accept(","):
            self._require("]")
            return ListNode(bracket.at, ())
        while not self._accept("]"):
            if self._accept("?"):
                optional.add(len(items))
            items.append(self._expression())
            if not self._accept(","):
                self._require("]")
                break
        return ListNode(bracket.at, tuple(items), frozenset(optional))

    def _map(self, brace: Token) -> Node:
        entries: list[tuple[Node, Node]] = []
        optional: set[int] = set()
        if self._accept(","):
            self._require("}")
            return MapNode(brace.at, ())
        while not self._accept("}"):
            if self._accept("?"):
                optional.add(len(entries))
            key = self._expression()
            self._require(":")
            entries.append((key, self._expression()))
            if not self._accept(","):
                self._require("}")
                break
        return MapNode(brace.at, tuple(entries), frozenset(optional))

    def _skip_fields(self) -> None:
        while not self._accept("}"):
            self._accept("?")
            self._field_name()
            self._require(":")
            self._expression()
            if not self._accept(","):
                self._require("}")
                break


def _qualified(node: Node) -> str:
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test and not node.optional:
        prefix = _qualified(node.operand)
        return f"{prefix}.{node.field}" if prefix else ""
    return ""


def _presence(at: int, argument: Node) -> Node:
    if not isinstance(argument, Select) or argument.test:
        raise _Stop(argument.at, "invalid argument to has() macro")
    return Select(at, argument.operand, argument.field, test=True)


def _member_call(at: int, operand: Node, name: str, args: tuple[Node, ...]) -> Node:
    macro = _MACROS.get((name, len(args)))
    if macro is None:
        return Call(at, name, args, operand)
    two = (name, len(args)) in _TWO_VARIABLES or macro.startswith("transform")
    count = 2 if two else 1
    variables = tuple(_variable(arg) for arg in args[:count])
    if len(set(variables)) != len(variables):
        text = f"duplicate variable name: {variables[0]}"
        raise _Stop(args[1].at, text)
    rest = args[count:]
    condition = rest[0] if len(rest) == 2 else None
    return Macro(at, macro, operand, variables, rest[-1], condition)


def _variable(node: Node) -> str:
    if not isinstance(node, Ident) or node.name.startswith("."):
        raise _Stop(node.at, "argument must be a simple name")
    return node.name
