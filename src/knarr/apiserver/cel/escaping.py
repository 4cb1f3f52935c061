"""Names of fields as expressions write them: ``foo-bar`` is ``foo__dash__bar``."""

import re
from typing import Final

_RESERVED: Final = frozenset(
    (
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function",
        "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_PLAIN: Final = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*")
_SPECIAL: Final = re.compile(r"__|[./-]")
_NAMES: Final = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def escaped(name: str) -> str | None:
    """The name in expressions; None when expressions cannot name it."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _PLAIN.fullmatch(name):
        return None
    return _SPECIAL.sub(lambda found: _NAMES[found.group()], name)
