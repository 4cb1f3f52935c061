"""Making one entry of a layer: file, directory, link or pipe, and its owner, mode, times and xattrs.

Every function works relative to the descriptor of the parent and never follows the last component. What must
not come from an image is counted instead of made.
"""

import errno
import os
import stat
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

from knarr.node.images.errors import InvalidLayer, LimitExceeded
from knarr.node.images.limits import Limits
from knarr.node.images.rooted import Rooted

_XATTR = "SCHILY.xattr."
_COPY = 1024 * 1024
_MAX_TIME = 2**63 // 10**9 - 1


@dataclass(slots=True)
class Counts:
    """What a layer contained; see ``unpack.UnpackReport``."""

    entries: int = 0
    name_bytes: int = 0
    size_bytes: int = 0
    opaque_root: bool = False
    devices: int = 0
    xattrs: int = 0
    owners: int = 0


def clean_name(name: str, limits: Limits) -> str:
    """A tar entry's name relative to the root, without ``.`` and empty parts; empty is the root itself.

    Raises:
        InvalidLayer: ``..`` in it, or a NUL.
        LimitExceeded: deeper than the cap.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in name:
        raise InvalidLayer(f"entry {name!r} points outside the layer")
    if len(parts) > limits.path_depth:
        raise LimitExceeded(
            f"entry {name[:80]!r}… is more than {limits.path_depth} directories deep"
        )
    return "/".join(parts)


class EntryMaker:
    """Makes entries below a ``Rooted``; the names in the way have been removed before."""

    def __init__(self, rooted: Rooted, limits: Limits, counts: Counts, *, own: bool) -> None:
        """Args: ``own`` gives entries the owners of the image."""
        self._rooted = rooted
        self._limits = limits
        self._counts = counts
        self._own = own
        self._makers: dict[bytes, Callable[[tarfile.TarFile, tarfile.TarInfo, str, int], None]] = {
            tarfile.DIRTYPE: self._directory,
            tarfile.REGTYPE: self._file,
            tarfile.AREGTYPE: self._file,
            tarfile.CONTTYPE: self._file,
            tarfile.GNUTYPE_SPARSE: self._file,
            tarfile.SYMTYPE: self._symlink,
            tarfile.LNKTYPE: self._hardlink,
            tarfile.FIFOTYPE: self._fifo,
        }

    def makes(self, entry: tarfile.TarInfo) -> bool:
        """Whether this kind of entry is made at all; device nodes are not."""
        return entry.type in self._makers

    def make(
        self, archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str, parent: int
    ) -> None:
        """Make the entry ``name`` in the directory ``parent``; metadata follows in ``apply_metadata``.

        Raises:
            InvalidLayer, OSError: it cannot be made.
        """
        self._makers[entry.type](archive, entry, name, parent)

    def _directory(
        self, _archive: tarfile.TarFile, _entry: tarfile.TarInfo, name: str, parent: int
    ) -> None:
        os.mkdir(name, 0o700, dir_fd=parent)

    def _file(
        self, archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str, parent: int
    ) -> None:
        source = archive.extractfile(entry)
        if source is None or entry.size < 0:
            raise InvalidLayer(f"entry {entry.name!r} has an impossible size")
        self._counts.size_bytes += entry.size
        if self._counts.size_bytes > self._limits.layer_bytes:
            raise LimitExceeded(f"layer holds more than {self._limits.layer_bytes} bytes of files")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb", buffering=0) as file:
            left = entry.size
            while left > 0:
                data = source.read(min(_COPY, left))
                if not data:
                    raise InvalidLayer(f"archive ends inside {entry.name!r}")
                left -= len(data)
                _write(file.fileno(), data, sparse=entry.sparse is not None)
            if entry.sparse is not None:
                file.truncate(entry.size)

    def _symlink(
        self, _archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str, parent: int
    ) -> None:
        # Any target is right: the container resolves it inside its own root.
        os.symlink(entry.linkname, name, dir_fd=parent)

    def _hardlink(
        self, _archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str, parent: int
    ) -> None:
        source = clean_name(entry.linkname, self._limits)
        head, _, base = source.rpartition("/")
        parent = os.dup(parent)
        try:
            origin = self._rooted.directory(head)
            mode = os.stat(base, dir_fd=origin, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise InvalidLayer(f"hard link {entry.name!r} leads to {source!r}, not a file")
            os.link(base, name, src_dir_fd=origin, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise InvalidLayer(
                f"hard link {entry.name!r} leads to {source!r}, which is not in this layer"
            ) from None
        finally:
            os.close(parent)

    def _fifo(
        self, _archive: tarfile.TarFile, _entry: tarfile.TarInfo, name: str, parent: int
    ) -> None:
        os.mkfifo(name, 0o600, dir_fd=parent)

    def apply_metadata(self, name: str, parent: int, entry: tarfile.TarInfo) -> None:
        """Owner, xattrs, mode, time, in this order: a change of owner clears setuid and capabilities."""
        self._apply_owner(name, parent, entry)
        for key, value in entry.pax_headers.items():
            if key.startswith(_XATTR):
                self._apply_xattr(name, parent, key.removeprefix(_XATTR), value)
        if not entry.issym():
            mode = entry.mode & 0o7777
            if not self._own:
                # The caller must be able to read, and later remove, what is mapped to them.
                mode |= 0o700 if entry.isdir() else 0o400
            os.chmod(name, mode, dir_fd=parent)
        if not entry.isdir():
            moment = mtime_ns(entry)
            os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)

    def _apply_owner(self, name: str, parent: int, entry: tarfile.TarInfo) -> None:
        if self._own:
            try:
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            except (PermissionError, OverflowError):
                self._counts.owners += 1
        elif entry.uid != os.geteuid():
            self._counts.owners += 1

    def _apply_xattr(self, name: str, parent: int, key: str, value: str) -> None:
        allowed = key.startswith("user.") and not key.startswith("user.overlay.")
        if not (allowed or (key == "security.capability" and self._own)):
            self._counts.xattrs += 1
            return
        try:
            set_xattr(parent, name, key, value.encode("utf-8", "surrogateescape"))
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            self._counts.xattrs += 1


def _write(descriptor: int, data: bytes, *, sparse: bool) -> None:
    if sparse and not data.strip(b"\0"):
        os.lseek(descriptor, len(data), os.SEEK_CUR)
        return
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def proc_path(descriptor: int) -> str:
    """A path for calls that take no descriptor; the kernel resolves it to the open directory."""
    return f"/proc/self/fd/{descriptor}"


def set_xattr(parent: int, name: str, key: str, value: bytes) -> None:
    """Set an extended attribute of an entry without following it."""
    os.setxattr(f"{proc_path(parent)}/{name}", key, value, follow_symlinks=False)


def mtime_ns(entry: tarfile.TarInfo) -> int:
    """Modification time in nanoseconds; what does not fit becomes 0."""
    return int(entry.mtime * 1_000_000_000) if 0 <= entry.mtime < _MAX_TIME else 0
