r"""Regular expressions of users: RE2, whose syntax is Go's and whose time is linear in the text.

Python's own engine would let a pattern of a schema stop the server. The library is loaded when the first
pattern is compiled (6 ms, 3 MiB): most servers never do.
"""

import re
from typing import Final, Protocol

_MAX_PATTERN: Final = 10_000
_MAX_MEMORY: Final = 8 << 20
_GO_TEXTS: Final = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "bad repetition operator": "invalid nested repetition operator",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
}
_ANY_BYTE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\C")


class BadExpression(ValueError):
    """A text that is no regular expression of RE2."""


class Matcher(Protocol):
    """A compiled expression."""

    def search(self, text: str) -> object | None:
        """Something when the expression matches anywhere in the text, else None."""
        ...


def compile_expression(pattern: str) -> Matcher:
    """The compiled expression; use ``search``.

    Raises:
        BadExpression: the pattern is malformed, or too large to compile; in Go's words.
    """
    if len(pattern) > _MAX_PATTERN:
        raise BadExpression(f"longer than {_MAX_PATTERN} characters")
    if _ANY_BYTE.search(pattern):
        raise BadExpression(r"error parsing regexp: invalid escape sequence: `\C`")
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    try:
        compiled: Matcher = re2.compile(pattern, options)
    except UnicodeEncodeError:
        raise BadExpression("error parsing regexp: invalid UTF-8") from None
    except re2.error as error:
        raise BadExpression(f"error parsing regexp: {_in_go(error)}") from None
    return compiled


def _in_go(error: Exception) -> str:
    """What Go's parser says where RE2's says this."""
    said = error.args[0] if error.args else b""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    problem, _, where = text.partition(": ")
    problem = _GO_TEXTS.get(problem, problem)
    return f"{problem}: `{where}`" if where else problem
