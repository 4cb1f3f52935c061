"""Unpacking one layer into a directory, without trusting anything in it.

Two forms exist. ``overlay`` turns whiteouts into overlayfs' own marks (a 0/0 character device for a removed
name, the xattr ``trusted.overlay.opaque`` for a replaced directory), so that each layer stands alone.
``merge`` carries removals out on a directory that already holds the layers below; it needs no privilege.

Names are resolved by ``Rooted``; ``..`` in a name is refused; the last component is never followed. Device
nodes are not made (a 0/0 device would be a whiteout), xattrs other than ``user.*`` and file capabilities are
dropped (``trusted.overlay.*`` from an image could redirect into other layers). Both are counted.
"""

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from knarr.node.images.entries import Counts, EntryMaker, clean_name, mtime_ns, proc_path, set_xattr
from knarr.node.images.errors import InvalidLayer, LimitExceeded
from knarr.node.images.files import disk_errors, remove_tree_at
from knarr.node.images.limits import Limits
from knarr.node.images.rooted import Rooted
from knarr.node.images.tarstream import ForwardReader, decompressed, members

Form = Literal["overlay", "merge"]
OPAQUE_XATTR = "trusted.overlay.opaque"
_WHITEOUT = ".wh."
_AUFS = ".wh..wh."
_OPAQUE = ".wh..wh..opq"


class UnpackReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer contained.

    Attributes:
        diff_id: digest of the uncompressed archive.
        entries: all tar entries.
        size_bytes: of regular files.
        opaque_root: the layer hides everything below it.
        devices, xattrs, owners: device nodes, extended attributes and owners that were not applied.
    """

    diff_id: str
    entries: int
    size_bytes: int
    opaque_root: bool = False
    devices: int = 0
    xattrs: int = 0
    owners: int = 0


def unpack_layer(
    blob: BinaryIO, blob_bytes: int, target: Path, *, form: Form, limits: Limits, own: bool
) -> UnpackReport:
    """Unpack one layer; blocks, so call it in a thread.

    Args:
        blob: the layer as stored: tar, gzip or zstd.
        blob_bytes: its size, for the ratio cap.
        target: an existing directory: empty for ``overlay``, the layers below for ``merge``.
        form: see the module.
        limits: caps on entries, bytes, ratio and depth.
        own: give files the owners of the image; otherwise everything belongs to the caller.

    Returns:
        What was unpacked; compare ``diff_id`` with the image configuration before using ``target``.

    Raises:
        InvalidLayer: damaged, or an entry tries to leave the directory.
        LimitExceeded: a cap.
        DiskFull: no space.
    """
    stream = ForwardReader(decompressed(blob), limits, blob_bytes)
    with disk_errors(target), Rooted(target) as rooted:
        writer = _Writer(rooted, form, limits, own=own)
        for archive, entry in members(stream, limits):
            writer.add(archive, entry)
        writer.finish()
        diff_id = stream.drain()
    counts = writer.counts
    return UnpackReport(
        diff_id=diff_id,
        entries=counts.entries,
        size_bytes=counts.size_bytes,
        opaque_root=counts.opaque_root,
        devices=counts.devices,
        xattrs=counts.xattrs,
        owners=counts.owners,
    )


class _Writer:
    """Applies entries one after another.

    ``_made`` are the paths of this layer, ``_ancestors`` all directories above them, ``_removed`` the targets
    of its whiteouts. Descriptors from ``Rooted`` are valid until its next call, so they are fetched again
    after anything that may have dropped them.
    """

    def __init__(self, rooted: Rooted, form: Form, limits: Limits, *, own: bool) -> None:
        self.counts = Counts()
        self._rooted = rooted
        self._form = form
        self._limits = limits
        self._maker = EntryMaker(rooted, limits, self.counts, own=own)
        self._made: set[str] = set()
        self._ancestors: set[str] = set()
        self._removed: set[str] = set()
        self._directory_times: dict[str, int] = {}
        self._marks: set[str] = set()
        self._opaque: set[str] = set()

    def add(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        """Apply one entry.

        Raises:
            InvalidLayer: it cannot be applied; the message names it.
        """
        self.counts.entries += 1
        self.counts.name_bytes += len(entry.name)
        if self.counts.name_bytes > self._limits.name_bytes:
            raise LimitExceeded(f"names in the layer exceed {self._limits.name_bytes} bytes")
        path = clean_name(entry.name, self._limits)
        head, _, name = path.rpartition("/")
        try:
            if name.startswith(_WHITEOUT):
                self._whiteout(head, name)
            elif not path:
                self._root(entry)
            elif not self._maker.makes(entry):
                self.counts.devices += 1
            else:
                self._make(archive, entry, path)
        except (OSError, ValueError, tarfile.TarError) as error:
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            cause = error.strerror if isinstance(error, OSError) else str(error)
            raise InvalidLayer(f"cannot unpack {entry.name!r}: {cause}") from error

    def finish(self) -> None:
        """Drop whiteouts that have nothing to hide and set the times of directories."""
        self._rooted.forget()
        if self._opaque:
            self._drop_needless_marks()
        for path, moment in self._directory_times.items():
            head, _, name = path.rpartition("/")
            try:
                parent = self._rooted.directory(head)
                os.utime(name or ".", ns=(moment, moment), dir_fd=parent, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue

    def _drop_needless_marks(self) -> None:
        """In a directory that is not merged with one below, overlayfs would list the marks themselves."""
        for path in self._marks:
            head, _, name = path.rpartition("/")
            hidden = any(above in self._opaque for above in _above(path))
            mode = self._mode(head, name) if hidden else None
            if mode is not None and stat.S_ISCHR(mode):
                self._remove(head, name, mode)

    def _root(self, entry: tarfile.TarInfo) -> None:
        if not entry.isdir():
            raise InvalidLayer("the root of a layer must be a directory")
        self._maker.apply_metadata(".", self._rooted.root, entry)
        self._directory_times[""] = mtime_ns(entry)

    def _make(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        head, _, name = path.rpartition("/")
        self._rooted.ensure_directory(head)
        kept = self._clear_way(head, name, keep_directory=entry.isdir())
        if not kept:
            self._maker.make(archive, entry, name, self._rooted.directory(head))
        self._remember(path)
        if not entry.islnk():
            self._maker.apply_metadata(name, self._rooted.directory(head), entry)
        if entry.isdir():
            self._directory_times[path] = mtime_ns(entry)
            if path in self._removed and not kept:
                self._mark_opaque(path)

    def _remember(self, path: str) -> None:
        self._made.add(path)
        self._remember_above(path)

    def _remember_above(self, path: str) -> None:
        while (path := path.rpartition("/")[0]) and path not in self._ancestors:
            self._ancestors.add(path)

    def _clear_way(self, head: str, name: str, *, keep_directory: bool) -> bool:
        """Remove what an entry replaces; True when a directory stays because a directory comes."""
        mode = self._mode(head, name)
        if mode is None:
            return False
        if stat.S_ISDIR(mode) and keep_directory:
            return True
        self._remove(head, name, mode)
        return False

    def _mode(self, head: str, name: str) -> int | None:
        try:
            parent = self._rooted.directory(head)
            return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _remove(self, head: str, name: str, mode: int) -> None:
        parent = self._rooted.directory(head)
        if stat.S_ISDIR(mode):
            remove_tree_at(parent, name)
        else:
            os.unlink(name, dir_fd=parent)
        self._directory_times.pop(_join(head, name), None)
        self._rooted.forget()

    # --- whiteouts ----------------------------------------------------------------------------------

    def _whiteout(self, head: str, name: str) -> None:
        if name == _OPAQUE:
            self._rooted.ensure_directory(head)
            self._remember_above(f"{head}/")
            self._make_opaque(head)
            return
        if name.startswith(_AUFS):
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in {"", ".", ".."}:
            raise InvalidLayer(f"whiteout {_join(head, name)!r} removes nothing that has a name")
        path = _join(head, hidden)
        self._removed.add(path)
        self._rooted.ensure_directory(head)
        self._remember_above(path)
        mode = self._mode(head, hidden)
        if path in self._made or path in self._ancestors:
            # Whiteouts concern the layers below: what this layer brings stays, but alone.
            if mode is not None and stat.S_ISDIR(mode):
                self._make_opaque(path)
        elif mode is not None:
            self._remove(head, hidden, mode)
        if self._form == "overlay" and self._mode(head, hidden) is None:
            parent = self._rooted.directory(head)
            os.mknod(hidden, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=parent)
            self._marks.add(path)

    def _make_opaque(self, path: str) -> None:
        """Nothing of the layers below shows through this directory."""
        if self._form == "overlay":
            self._mark_opaque(path)
        else:
            self._prune(path)

    def _mark_opaque(self, path: str) -> None:
        if self._form != "overlay":
            return
        self._opaque.add(path)
        if path:
            set_xattr(self._rooted.directory(path), ".", OPAQUE_XATTR, b"y")
        else:
            self.counts.opaque_root = True

    def _prune(self, path: str) -> None:
        """Remove everything below a directory that this layer did not make."""
        directory = self._rooted.directory(path)
        for name in sorted(item.name for item in Path(proc_path(directory)).iterdir()):
            child = _join(path, name)
            mode = self._mode(path, name)
            if mode is None:
                continue
            if child not in self._made and child not in self._ancestors:
                self._remove(path, name, mode)
            elif stat.S_ISDIR(mode):
                self._prune(child)


def _above(path: str) -> Iterator[str]:
    """The directories above a path, the root last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _join(head: str, name: str) -> str:
    return f"{head}/{name}" if head else name
