"""Garbage collection: mark from references and running sandboxes, sweep blobs, layers and leftovers.

Runs under the store's exclusive lock, so everything in ``tmp`` belongs to a process that is gone. Downloads
to resume stay for a day after their last byte.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from knarr.node.images.catalog import Catalog, read_manifest
from knarr.node.images.errors import ImageError
from knarr.node.images.files import remove_tree, temporary_name
from knarr.node.images.layers import LayerCache
from knarr.node.images.records import ImageRecord

if TYPE_CHECKING:
    from knarr.node.images.store import ImageStore


_PART_AGE_S = 24 * 3600


class CollectReport(msgspec.Struct, frozen=True, kw_only=True):
    """What went.

    Attributes:
        images, layers: how many.
        blob_bytes: freed by blobs; unpacked layers come on top.
    """

    images: int = 0
    layers: int = 0
    blob_bytes: int = 0


def collect(
    store: "ImageStore",
    catalog: Catalog,
    layers: LayerCache,
    in_use: frozenset[str],
    on_remove: Callable[[str], None] | None,
) -> CollectReport:
    """Sweep; blocks. The caller holds the exclusive lock."""
    tell = on_remove or (lambda _name: None)
    kept_digests = {tagged.digest for tagged in catalog.references()} | in_use
    images = 0
    kept: list[ImageRecord] = []
    for digest in list(catalog.digests()):
        record = catalog.by_digest(digest)
        if record is not None and digest in kept_digests:
            kept.append(record)
            continue
        catalog.forget(digest)
        images += 1
        tell(digest)
    needed = set(_blobs_of(store, kept))
    freed = sum(store.blobs.remove(digest) for digest in list(store.blobs) if digest not in needed)
    wanted = {name for record in kept for name in layers.names_of(record.layers)}
    doomed = layers.names() - wanted
    for name in doomed:
        layers.remove(name)
        tell(name)
    _remove_old_parts(store)
    for leftover in list(store.scratch.iterdir()):
        _remove(leftover)
    for lock in list(store.locks.iterdir()):
        if lock.name != "store":
            lock.unlink(missing_ok=True)
    return CollectReport(images=images, layers=len(doomed), blob_bytes=freed)


def _blobs_of(store: "ImageStore", records: Iterable[ImageRecord]) -> Iterable[str]:
    for record in records:
        yield record.digest
        for layer in record.layers:
            yield layer.digest
        try:
            manifest = store.blobs.read(record.digest, store.limits.manifest_bytes)
            yield read_manifest(manifest, record.digest, store.limits).config.digest
        except (FileNotFoundError, ImageError):
            continue


def _remove_old_parts(store: "ImageStore") -> None:
    """Ages are measured by the file system's own clock, which also wrote the other times."""
    probe = temporary_name(store.scratch, "now")
    probe.touch()
    now = probe.stat().st_mtime
    for part in list((store.root / "partial").iterdir()):
        if now - part.stat().st_mtime > _PART_AGE_S:
            part.unlink()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()
