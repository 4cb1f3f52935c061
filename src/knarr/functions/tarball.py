"""Writing layers: deterministic tar archives, the same input always giving the same digest."""

import importlib.util
import io
import marshal
import tarfile
import warnings
from pathlib import Path
from types import CodeType, TracebackType
from typing import Self

_MTIME = 315_532_800  # 1980-01-01: the oldest time that every format can hold
_UNCHECKED_HASH = 1


class LayerWriter:
    """Collects entries, then writes them sorted; parents are made when missing. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Args: ``path`` of the archive to make; uncompressed."""
        self._path = path
        self._entries: dict[str, tuple[tarfile.TarInfo, Path | bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._write()

    def __contains__(self, name: str) -> bool:
        return name.strip("/") in self._entries

    def directory(self, name: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """A directory; ``name`` may begin with a slash."""
        self._add(name, tarfile.DIRTYPE, mode, owner, b"")

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._add(name, tarfile.SYMTYPE, 0o777, 0, b"").linkname = target

    def data(self, name: str, data: bytes, *, mode: int = 0o644, owner: int = 0) -> None:
        """A file with this content."""
        self._add(name, tarfile.REGTYPE, mode, owner, data).size = len(data)

    def file(self, name: str, source: Path, *, executable: bool) -> None:
        """A copy of a file, read when the archive is written."""
        mode = 0o755 if executable else 0o644
        self._add(name, tarfile.REGTYPE, mode, 0, source)

    def _add(
        self, name: str, kind: bytes, mode: int, owner: int, content: Path | bytes
    ) -> tarfile.TarInfo:
        name = name.strip("/")
        parent = name.rpartition("/")[0]
        if parent and parent not in self._entries:
            self.directory(parent)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime = kind, mode, _MTIME
        entry.uid = entry.gid = owner
        self._entries[name] = (entry, content)
        return entry

    def _write(self) -> None:
        with tarfile.open(self._path, "w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(self._entries):
                entry, content = self._entries[name]
                if isinstance(content, bytes):
                    archive.addfile(entry, io.BytesIO(content))
                else:
                    with content.open("rb") as file:
                        entry.size = content.stat().st_size
                        archive.addfile(entry, file)


def compiled(source: bytes, name: str) -> bytes | None:
    """A ``.pyc`` for this interpreter that is never checked against its source; None: it does not compile.

    Args:
        source: of the module.
        name: its path inside the image, for tracebacks.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code: CodeType = compile(source, name, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError):
        return None
    flags = _UNCHECKED_HASH.to_bytes(4, "little")
    magic, digest = importlib.util.MAGIC_NUMBER, importlib.util.source_hash(source)
    return magic + flags + digest + marshal.dumps(code)


def cache_name(path: str, tag: str) -> str:
    """Where the interpreter looks for the ``.pyc`` of a source path."""
    head, _, name = path.rpartition("/")
    return f"{head}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
