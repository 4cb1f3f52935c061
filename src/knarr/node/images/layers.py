"""Unpacked layers: one directory per diff id, or, without the privilege for whiteouts, one per image.

``layers/<32 hex of the diff id>`` exists when the layer is complete; its report lies beside it as ``.json``.
Names are short because the kernel wants all lower directories of a mount in one page.

fsync policy: unpacking writes without fsync; before a directory gets its name, ``syncfs`` makes the whole
file system durable. So a directory that exists after a power loss is complete, at the price of one flush per
layer.
"""

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from knarr.node.images.blobs import BlobStore
from knarr.node.images.errors import DigestMismatch, InvalidLayer
from knarr.node.images.files import (
    disk_errors,
    locked,
    remove_tree,
    sync_directory,
    sync_filesystem,
    temporary_name,
    write_atomic,
)
from knarr.node.images.limits import Limits
from knarr.node.images.records import LayerRecord, Progress, ProgressEvent
from knarr.node.images.unpack import OPAQUE_XATTR, Form, UnpackReport, unpack_layer

_NAME_DIGITS = 32


class LayerCache:
    """Unpacks on first use. Safe for several processes."""

    def __init__(
        self,
        root: Path,
        blobs: BlobStore,
        *,
        scratch: Path,
        locks: Path,
        limits: Limits,
        flatten: bool | None = None,
        durable: bool = True,
    ) -> None:
        """Args.

        root: the directory of unpacked layers.
        flatten: merge layers into one directory per image; None: only when whiteouts cannot be made here.
        durable: False skips ``syncfs`` (tests).
        """
        self._root = root
        self._blobs = blobs
        self._scratch = scratch
        self._locks = locks
        self._limits = limits
        self._flatten = flatten
        self._durable = durable

    def existing(self, layers: Sequence[LayerRecord]) -> tuple[Path, ...] | None:
        """What ``ensure`` would return, when nothing has to be unpacked for it."""
        if self._flatten is None:
            return None
        if self._flatten:
            merged = self._root / _merged_name(layers)
            return (merged,) if merged.is_dir() else None
        paths = [self._root / _name((layer.diff_id,)) for layer in layers]
        if not all(path.is_dir() for path in paths):
            return None
        return self._stack(paths)

    async def ensure(self, layers: Sequence[LayerRecord], progress: Progress) -> tuple[Path, ...]:
        """Directories of an image, topmost first, unpacking what is missing.

        Cancellation leaves nothing with a final name; a thread that is unpacking runs to its end unseen.

        Raises:
            InvalidLayer, LimitExceeded, DigestMismatch, DiskFull: the layer named in the message.
        """
        if self._flatten is None:
            self._flatten = not await asyncio.to_thread(_can_make_whiteouts, self._scratch)
        if self._flatten:
            return (await self._ensure_group(tuple(layers), "merge", progress),)
        paths = [await self._ensure_group((layer,), "overlay", progress) for layer in layers]
        return self._stack(paths)

    def _stack(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Topmost first; overlayfs ignores the opaque mark of a root, so it ends the list here."""
        stack: list[Path] = []
        for path in reversed(paths):
            stack.append(path)
            if self._report(path).opaque_root:
                break
        return tuple(stack)

    def names_of(self, layers: Sequence[LayerRecord]) -> set[str]:
        """Every directory name that an image may use, in either form."""
        return {_name((layer.diff_id,)) for layer in layers} | {_merged_name(layers)}

    def names(self) -> set[str]:
        """Directory names that exist."""
        return (
            {path.name for path in self._root.iterdir() if path.is_dir()}
            if self._root.is_dir()
            else set()
        )

    def remove(self, name: str) -> None:
        """Delete one unpacked directory."""
        doomed = temporary_name(self._scratch, "layer")
        try:
            (self._root / name).replace(doomed)
        except FileNotFoundError:
            return
        self._report_path(self._root / name).unlink(missing_ok=True)
        remove_tree(doomed)

    async def _ensure_group(
        self, layers: tuple[LayerRecord, ...], form: Form, progress: Progress
    ) -> Path:
        name = _name((layers[0].diff_id,)) if form == "overlay" else _merged_name(layers)
        path = self._root / name
        if path.is_dir():
            return path
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with locked(self._locks / f"layer-{name}"):
            if not path.is_dir():
                for layer in layers:
                    progress(
                        ProgressEvent(
                            stage="unpack", subject=layer.digest, total_bytes=layer.size_bytes
                        )
                    )
                await asyncio.to_thread(self._unpack, path, layers, form)
        return path

    def _unpack(self, path: Path, layers: tuple[LayerRecord, ...], form: Form) -> None:
        temporary = temporary_name(self._scratch, "layer")
        with disk_errors(self._root):
            try:
                temporary.mkdir(mode=0o755)
                temporary.chmod(0o755)
                report = UnpackReport(diff_id="", entries=0, size_bytes=0)
                for layer in layers:
                    report = self._unpack_one(temporary, layer, form)
                write_atomic(
                    self._report_path(path), msgspec.json.encode(report), scratch=self._scratch
                )
                if self._durable:
                    sync_filesystem(temporary)
                _rename(temporary, path)
            except BaseException:
                remove_tree(temporary)
                raise
        sync_directory(self._root)

    def _unpack_one(self, target: Path, layer: LayerRecord, form: Form) -> UnpackReport:
        blob = self._blobs.path(layer.digest)
        try:
            with blob.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                own = os.geteuid() == 0
                report = unpack_layer(file, size, target, form=form, limits=self._limits, own=own)
        except InvalidLayer as error:
            raise InvalidLayer(f"layer {layer.digest}: {error.message}") from error
        except FileNotFoundError:
            raise InvalidLayer(
                f"layer {layer.digest} is gone from {blob}: pull the image again"
            ) from None
        if report.diff_id != layer.diff_id:
            raise DigestMismatch(
                f"layer {layer.digest} unpacks to {report.diff_id}, but the image says {layer.diff_id}"
            )
        return report

    @staticmethod
    def _report_path(path: Path) -> Path:
        return path.with_name(f"{path.name}.json")

    def _report(self, path: Path) -> UnpackReport:
        return msgspec.json.decode(self._report_path(path).read_bytes(), type=UnpackReport)


def _rename(temporary: Path, path: Path) -> None:
    """Give a finished directory its name; the same layer may have come from a cancelled caller meanwhile."""
    try:
        temporary.rename(path)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        remove_tree(temporary)


def _name(diff_ids: Sequence[str]) -> str:
    if len(diff_ids) == 1:
        return diff_ids[0].rpartition(":")[2][:_NAME_DIGITS]
    return hashlib.sha256("\n".join(diff_ids).encode()).hexdigest()[:_NAME_DIGITS]


def _merged_name(layers: Sequence[LayerRecord]) -> str:
    return f"m{_name(['merged', *(layer.diff_id for layer in layers)])}"


def _can_make_whiteouts(directory: Path) -> bool:
    """Whether this process may make 0/0 devices and trusted xattrs on this file system."""
    probe = temporary_name(directory, "probe")
    probe.mkdir()
    try:
        os.mknod(probe / "w", stat.S_IFCHR | 0o600, os.makedev(0, 0))
        os.setxattr(probe, OPAQUE_XATTR, b"y")
    except OSError:
        return False
    else:
        return os.geteuid() == 0
    finally:
        remove_tree(probe)
