"""Regular expressions of schemas: Go's syntax (RE2), run by Python's engine.

What RE2 does not have (backreferences, look-around, possessive groups) is refused, as Kubernetes refuses
it; what Python writes otherwise is rewritten. Python's engine can take exponential time on hostile
patterns, so texts beyond ``MAX_TEXT`` characters are refused by the caller.
"""

import re
from typing import Final

MAX_TEXT: Final = 64 << 10
_MAX_PATTERN: Final = 10_000
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7F",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1F\\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-\\/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_PROPERTIES: Final = {
    "L": "^\\W\\d_",
    "Lu": "A-Z\\u00C0-\\u00D6\\u00D8-\\u00DE",
    "Ll": "a-z\\u00DF-\\u00F6\\u00F8-\\u00FF",
    "N": "0-9",
    "Nd": "0-9",
}
_ANCHORS: Final = {"z": "\\Z", "A": "\\A", "b": "\\b", "B": "\\B"}
_GROUP: Final = re.compile(r"\(\?(?:P?<[A-Za-z_]\w*>|[imsU]*(?:-[imsU]+)?[:)])")
_PLAIN_ESCAPES: Final = frozenset("abfnrtvdDsSwWAB") | frozenset(
    r"\.+*?()|[]{}^$-/ !\"#%&',:;<=>@_`~"
)


class BadExpression(ValueError):
    """A text that is no regular expression of RE2."""


def compile_expression(pattern: str) -> re.Pattern[str]:
    """The compiled expression; use ``search``.

    Raises:
        BadExpression: the pattern is malformed or uses what is not supported.
    """
    if len(pattern) > _MAX_PATTERN:
        raise BadExpression(f"longer than {_MAX_PATTERN} characters")
    try:
        return re.compile(_Translation(pattern).text(), re.ASCII)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadExpression(f"error parsing regexp: {error}: `{pattern}`") from None


class _Translation:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._out: list[str] = []

    def text(self) -> str:
        """The pattern for Python.

        Raises:
            BadExpression: it has what RE2 or this translation does not know.
        """
        while self._at < len(self._pattern):
            self._step()
        return "".join(self._out)

    def _take(self, count: int, text: str) -> None:
        self._out.append(text)
        self._at += count

    def _anchor(self, count: int, text: str) -> None:
        repeated = self._pattern[self._at + count : self._at + count + 1] in tuple("*+?{")
        self._take(count, f"(?:{text})" if repeated else text)

    def _step(self) -> None:
        rest = self._pattern[self._at :]
        match rest[0]:
            case "\\":
                self._escape(inside=False)
            case "[":
                self._bracket()
            case "$":
                self._anchor(1, "\\Z")
            case "^":
                self._anchor(1, "^")
            case "(" if rest.startswith("(?"):
                self._group(rest)
            case "+" | "*" | "?" | "}" if rest[1:2] == "+":
                raise BadExpression(f"invalid nested repetition operator: `{rest[:2]}`")
            case char:
                self._take(1, char)

    def _group(self, rest: str) -> None:
        found = _GROUP.match(rest)
        if found is None:
            raise BadExpression(f"invalid or unsupported Perl syntax: `{rest[:3]}`")
        text = found.group()
        if "U" in text:
            raise BadExpression(f"the flag U is not supported: `{text}`")
        if text.endswith(">"):
            # nothing reads groups by name, and RE2 allows a name twice
            text = "("
        if text.endswith(")") and self._out:
            raise BadExpression(f"flags are supported only at the beginning: `{text}`")
        if "-" in text and text.endswith(")"):
            raise BadExpression(f"flags cannot be taken away: `{text}`")
        self._take(len(found.group()), text)

    def _escape(self, *, inside: bool) -> None:
        rest = self._pattern[self._at :]
        char = rest[1:2]
        if char in _ANCHORS and not inside:
            self._anchor(2, _ANCHORS[char])
        elif char in ("p", "P"):
            self._property(rest, inside=inside)
        elif char == "x":
            self._hexadecimal(rest)
        elif char == "Q" and not inside:
            end = rest.find("\\E")
            quoted = rest[2:end] if end >= 0 else rest[2:]
            self._take(len(quoted) + (4 if end >= 0 else 2), re.escape(quoted))
        elif char in _PLAIN_ESCAPES:
            self._take(2, rest[:2])
        else:
            raise BadExpression(f"invalid escape sequence: `{rest[:2]}`")

    def _hexadecimal(self, rest: str) -> None:
        found = re.match(r"\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})", rest)
        code = int(found[1] or found[2], 16) if found is not None else -1
        if found is None or code > 0x10FFFF:
            raise BadExpression(f"invalid escape sequence: `{rest[:2]}`")
        self._take(len(found.group()), f"\\U{code:08x}")

    def _property(self, rest: str, *, inside: bool) -> None:
        found = re.match(r"\\[pP](?:\{(\^?\w+)\}|(\w))", rest)
        name = (found[1] or found[2]) if found is not None else ""
        if found is None or name not in _PROPERTIES:
            raise BadExpression(f"the character class {rest[:8]!r} is not supported")
        known = _PROPERTIES[name]
        negated = rest[1] == "P"
        if inside and (known.startswith("^") or negated):
            raise BadExpression(f"{found.group()} is not supported inside brackets")
        if inside:
            self._take(len(found.group()), known)
            return
        body = known.removeprefix("^")
        caret = "^" if known.startswith("^") != negated else ""
        if name == "L":
            # the alternative keeps the engine from an optimisation that forgets the flag
            self._take(len(found.group()), f"(?u:[{caret}{body}]|(?!))")
        else:
            self._take(len(found.group()), f"[{caret}{body}]")

    def _bracket(self) -> None:
        self._take(1, "[")
        if self._pattern.startswith("^", self._at):
            self._take(1, "^")
        if self._pattern.startswith("]", self._at):
            self._take(1, "\\]")
        while self._at < len(self._pattern):
            if self._pattern[self._at] == "]":
                self._take(1, "]")
                return
            starts_range = self._set_item()
            if (
                starts_range
                and self._pattern.startswith("-", self._at)
                and not self._pattern.startswith("-]", self._at)
                and self._at + 1 < len(self._pattern)
            ):
                self._take(1, "-")
                self._set_item()
        raise BadExpression(f"missing closing ]: `{self._pattern}`")

    def _set_item(self) -> bool:
        """Take one item of a set; whether it is a character, which may begin a range."""
        rest = self._pattern[self._at :]
        if rest.startswith("[:"):
            self._posix(rest)
            return False
        if rest[0] == "\\":
            self._escape(inside=True)
            return rest[1:2] not in tuple("dDsSwWpP")
        # Python reserves some of these for set operations
        self._take(1, "\\" + rest[0] if rest[0] in "[&~|-]" else rest[0])
        return True

    def _posix(self, rest: str) -> None:
        found = re.match(r"\[:(\w+):\]", rest)
        if found is None or found[1] not in _CLASSES:
            raise BadExpression(f"invalid character class range: `{rest[:10]}`")
        self._take(len(found.group()), _CLASSES[found[1]])
