"""Which files of a folder stay out of the image. Pure.

Patterns come from ``.knarrignore`` and ``.gitignore`` (gitignore(5)) and ``.dockerignore`` (rooted, ``**``).
The last pattern that matches a path or one of its parents decides; ``!`` brings back.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Dialect = Literal["git", "docker"]

DEFAULTS = (
    ".git", ".hg", ".svn", "__pycache__", "*.py[co]", ".venv", "venv", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".tox", ".nox", ".idea", ".vscode", ".DS_Store", "*.egg-info", ".env", ".env.*",
)  # fmt: skip


class Rule(NamedTuple):
    """One pattern, compiled."""

    regex: re.Pattern[str]
    keep: bool
    directories_only: bool


def parse_rules(lines: Iterable[str], dialect: Dialect) -> tuple[Rule, ...]:
    """Compile an ignore file's lines; comments and empty lines vanish."""
    rules = []
    for raw in lines:
        line = raw.rstrip("\n").strip()
        if not line or line.startswith("#"):
            continue
        keep = line.startswith("!")
        pattern = line[1:] if keep else line
        directories_only = pattern.endswith("/") and dialect == "git"
        pattern = pattern.rstrip("/")
        anchored = dialect == "docker" or "/" in pattern
        pattern = pattern.lstrip("/").removeprefix("./")
        if pattern:
            regex = _translate(pattern if anchored else f"**/{pattern}")
            rules.append(Rule(re.compile(regex), keep, directories_only))
    return tuple(rules)


def _translate(pattern: str) -> str:
    out = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**/", position):
            out.append("(?:.*/)?")
            position += 3
        elif pattern.startswith("**", position):
            out.append(".*")
            position += 2
        elif pattern[position] == "*":
            out.append("[^/]*")
            position += 1
        elif pattern[position] == "?":
            out.append("[^/]")
            position += 1
        elif pattern[position] == "[" and (end := pattern.find("]", position + 2)) > 0:
            inside = pattern[position + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]")
            position = end + 1
        else:
            if pattern[position] == "\\" and position + 1 < len(pattern):
                position += 1
            out.append(re.escape(pattern[position]))
            position += 1
    return "".join(out)


def is_ignored(path: str, rules: Sequence[Rule], *, directory: bool) -> bool:
    """Whether a relative path (``/`` between parts) stays out."""
    parts = path.split("/")
    ignored = False
    for rule in rules:
        if rule.keep == (not ignored):
            continue
        for end in range(1, len(parts) + 1):
            is_directory = end < len(parts) or directory
            if rule.directories_only and not is_directory:
                continue
            if rule.regex.fullmatch("/".join(parts[:end])):
                ignored = not rule.keep
                break
    return ignored


def may_prune(rules: Sequence[Rule]) -> bool:
    """Whether an ignored directory can be skipped as a whole: nothing below it is brought back."""
    return not any(rule.keep for rule in rules)
