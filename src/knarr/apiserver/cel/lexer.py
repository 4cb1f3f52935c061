"""From text to tokens (cel-spec ``doc/langdef.md``, lexis)."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from knarr.apiserver.cel.syntax import Issue
from knarr.apiserver.cel.values import MAX_INT, MAX_UINT, Uint

Sort = Literal["ident", "literal", "symbol", "end"]

_SPACE: Final = re.compile(r"(?:[ \t\n\f\r]+|//[^\n]*)*")
_IDENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER: Final = re.compile(
    r"(?P<float>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<hex>0x[0-9A-Fa-f]+)(?P<hexu>[uU]?)|(?P<int>[0-9]+)(?P<intu>[uU]?)"
)
_STRING: Final = re.compile(r"""(?P<prefix>[rR]?[bB]?|[bB][rR])(?P<quote>\"\"\"|'''|"|')""")
_SYMBOL: Final = re.compile(r"&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}]")
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\'\"`?])|x(?P<x>[0-9A-Fa-f]{2})|X(?P<X>[0-9A-Fa-f]{2})"
    r"|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|(?P<o>[0-3][0-7]{2})|(?P<bad>.|\n|$))"
)
_SIMPLE: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\",
    "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip
RESERVED: Final = frozenset(
    (
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
        "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_CONSTANTS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text: ``value`` is the name, the symbol or the literal's value."""

    sort: Sort
    at: int
    value: Any
    text: str


class LexError(Exception):
    """A text that is no token."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.message)
        self.issue = issue


def tokens(source: str) -> list[Token]:
    """The tokens of an expression, an ``end`` last.

    Raises:
        LexError: a character or a literal that nothing begins with.
    """
    result: list[Token] = []
    at = _skip(source, 0)
    while at < len(source):
        token = _next(source, at)
        result.append(token)
        at = _skip(source, at + len(token.text))
    result.append(Token("end", len(source), None, "<EOF>"))
    return result


def _skip(source: str, at: int) -> int:
    found = _SPACE.match(source, at)
    return found.end() if found is not None else at


def _next(source: str, at: int) -> Token:
    if found := _STRING.match(source, at):
        return _string(source, at, found)
    if found := _NUMBER.match(source, at):
        return _number(found, at)
    if found := _IDENT.match(source, at):
        text = found.group()
        if text in _CONSTANTS:
            return Token("literal", at, _CONSTANTS[text], text)
        return Token("symbol" if text == "in" else "ident", at, text, text)
    if found := _SYMBOL.match(source, at):
        return Token("symbol", at, found.group(), found.group())
    raise LexError(Issue(at, f"Syntax error: token recognition error at: '{source[at]}'"))


def _number(found: re.Match[str], at: int) -> Token:
    text = found.group()
    if found["float"] is not None:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise LexError(Issue(at, "invalid double literal"))
        return Token("literal", at, value, text)
    number = int(found["hex"], 16) if found["hex"] else _decimal(found["int"], at)
    if found["hexu"] or found["intu"]:
        if number > MAX_UINT:
            raise LexError(Issue(at, "invalid uint literal"))
        return Token("literal", at, Uint(number), text)
    # one more than the largest number may still get a minus sign
    if number > MAX_INT + 1:
        raise LexError(Issue(at, "invalid int literal"))
    return Token("literal", at, number, text)


def _decimal(text: str, at: int) -> int:
    if len(text.lstrip("0")) > 20:
        raise LexError(Issue(at, "invalid int literal"))
    return int(text)


def _string(source: str, at: int, found: re.Match[str]) -> Token:
    prefix, quote = found["prefix"].lower(), found["quote"]
    begin = found.end()
    end = _closing(source, begin, quote, raw="r" in prefix)
    if end < 0:
        message = f"Syntax error: token recognition error at: '{source[at:]}'"
        raise LexError(Issue(at, message))
    body = source[begin:end].replace("\r\n", "\n").replace("\r", "\n")
    text = source[at : end + len(quote)]
    if "r" in prefix:
        value: Any = body.encode() if "b" in prefix else body
    elif "b" in prefix:
        value = _unescaped_bytes(body, at)
    else:
        value = _unescaped(body, at)
    return Token("literal", at, value, text)


def _closing(source: str, begin: int, quote: str, *, raw: bool) -> int:
    at = begin
    while at < len(source):
        if source.startswith(quote, at):
            return at
        if source[at] == "\\" and not raw:
            at += 1
        elif source[at] in "\r\n" and len(quote) == 1:
            return -1
        at += 1
    return -1


def _unescaped(body: str, at: int) -> str:
    def replace(found: re.Match[str]) -> str:
        if found["bad"] is not None:
            raise LexError(Issue(at, "unable to unescape string"))
        if found["simple"] is not None:
            return _SIMPLE[found["simple"]]
        code = _code(found)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise LexError(Issue(at, "invalid unicode code point"))
        return chr(code)

    return _ESCAPE.sub(replace, body)


def _unescaped_bytes(body: str, at: int) -> bytes:
    out = bytearray()
    last = 0
    for found in _ESCAPE.finditer(body):
        out += body[last : found.start()].encode()
        last = found.end()
        if found["bad"] is not None or found["u"] or found["U"]:
            raise LexError(Issue(at, "unable to unescape string"))
        if found["simple"] is not None:
            out += _SIMPLE[found["simple"]].encode()
        else:
            out.append(_code(found))
    out += body[last:].encode()
    return bytes(out)


def _code(found: re.Match[str]) -> int:
    if found["o"] is not None:
        return int(found["o"], 8)
    digits = found["x"] or found["X"] or found["u"] or found["U"]
    return int(digits, 16)
