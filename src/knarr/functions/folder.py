"""Reading a source folder: which files count, and what planning needs to know of them."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from knarr.functions.errors import BuildError
from knarr.functions.ignore import DEFAULTS, Rule, is_ignored, may_prune, parse_rules

_MAX_FILES = 100_000
_MAX_BYTES = 2 * 1024**3
_MAX_TEXT = 1024 * 1024
_TEXTS = {"Procfile", "pyproject.toml"}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file or link of the folder.

    Attributes:
        kind: what it is; directories only matter when they are empty and are left out.
        size_bytes: of a file.
        executable: any x bit.
        target: of a link.
        magic: the first 20 bytes of an executable file.
    """

    kind: Literal["file", "link"]
    size_bytes: int = 0
    executable: bool = False
    target: str = ""
    magic: bytes = b""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as planning sees it.

    Attributes:
        name: of the folder.
        files: by relative path, sorted.
        texts: content of the files that planning may want to read.
        ignored_by: the ignore file that was used, or empty.
    """

    name: str
    files: Mapping[str, SourceFile]
    texts: Mapping[str, str] = field(default_factory=dict)
    ignored_by: str = ""


def read_folder(path: Path) -> Folder:
    """Walk a folder; blocks.

    Raises:
        BuildError: not a folder, unreadable, or far too big to be a source folder.
    """
    if not path.is_dir():
        raise BuildError(f"{path} is not a folder")
    rules, ignored_by = _rules(path)
    files: dict[str, SourceFile] = {}
    total = 0
    for relative, entry in _walk(path, rules):
        files[relative] = entry
        total += entry.size_bytes
        if len(files) > _MAX_FILES or total > _MAX_BYTES:
            raise BuildError(
                f"{path} has more than {_MAX_FILES} files or {_MAX_BYTES >> 30} GiB: list what does not "
                "belong into the image in .knarrignore"
            )
    if not files:
        raise BuildError(f"{path} has no files (after {ignored_by or 'the default ignores'})")
    files = dict(sorted(files.items()))
    texts = {name: _text(path / name) for name, entry in files.items() if _wanted(name, entry)}
    return Folder(path.resolve().name, files, texts, ignored_by)


def _rules(path: Path) -> tuple[tuple[Rule, ...], str]:
    """The defaults, then the most specific ignore file that exists."""
    rules = parse_rules(DEFAULTS, "git")
    for name in (".knarrignore", ".dockerignore", ".gitignore"):
        try:
            lines = (path / name).read_text(errors="replace").splitlines()
        except (FileNotFoundError, IsADirectoryError):
            continue
        return (*rules, *parse_rules(lines, "docker" if name == ".dockerignore" else "git")), name
    return rules, ""


def _walk(path: Path, rules: tuple[Rule, ...]) -> list[tuple[str, SourceFile]]:
    found = []
    prune = may_prune(rules)
    for directory, names, leaves in os.walk(path, onerror=_fail):
        base = Path(directory)
        links = [name for name in names if (base / name).is_symlink()]
        for name in [*leaves, *links]:
            relative = (base / name).relative_to(path).as_posix()
            if not is_ignored(relative, rules, directory=False):
                entry = _source_file(base / name)
                if entry is not None:
                    found.append((relative, entry))
        names[:] = [
            name
            for name in names
            if name not in links
            and not (
                prune
                and is_ignored((base / name).relative_to(path).as_posix(), rules, directory=True)
            )
        ]
    return found


def _fail(error: OSError) -> None:
    raise BuildError(f"cannot read {error.filename}: {error.strerror}") from error


def _source_file(path: Path) -> SourceFile | None:
    try:
        stats = path.lstat()
        if stat.S_ISLNK(stats.st_mode):
            return SourceFile("link", target=str(path.readlink()))
        if not stat.S_ISREG(stats.st_mode):
            return None
        executable = bool(stats.st_mode & 0o111)
        magic = b""
        if executable:
            with path.open("rb") as file:
                magic = file.read(20)
    except OSError as error:
        raise BuildError(f"cannot read {path}: {error.strerror}") from error
    return SourceFile("file", stats.st_size, executable=executable, magic=magic)


def _wanted(name: str, entry: SourceFile) -> bool:
    if entry.kind != "file" or entry.size_bytes > _MAX_TEXT:
        return False
    depth = name.count("/")
    return (
        name in _TEXTS
        or (name.endswith(".py") and depth <= 2)
        or (name.endswith((".txt", ".in")) and depth <= 1)
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BuildError(f"cannot read {path}: {error.strerror}") from error
