"""Which images are complete, and which references lead to them.

``images/<hex>.json`` exists when manifest, configuration and every layer blob of that manifest digest are in
the blob store. ``refs/<hash>.json`` maps one canonical reference to a manifest digest. Both are written
atomically, so readers need no lock.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from knarr.node.images.blobs import BlobStore
from knarr.node.images.errors import InvalidManifest, NoMatchingPlatform
from knarr.node.images.files import write_atomic
from knarr.node.images.limits import Limits
from knarr.node.images.manifests import (
    Descriptor,
    Platform,
    parse_config,
    parse_document,
    platform_fits,
)
from knarr.node.images.records import HostBind, ImageRecord, LayerRecord
from knarr.node.images.reference import parse_reference

T = TypeVar("T")


class Tagged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reference on disk.

    Attributes:
        pulled: it came from its registry, and can come again.
    """

    reference: str
    digest: str
    pulled: bool = False


class Manifest(NamedTuple):
    """The parts of a manifest that are needed to complete an image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def read_manifest(data: bytes, what: str, limits: Limits) -> Manifest:
    """A manifest's descriptors.

    Raises:
        InvalidManifest: it is an index, or see ``parse_document``.
    """
    document = parse_document(data, what, limits)
    if document.config is None or document.layers is None:
        raise InvalidManifest(f"{what} is an index, not a manifest")
    return Manifest(document.config, document.layers)


class Catalog:
    """Images and references of one store. Methods block for one or two small files."""

    def __init__(
        self, root: Path, blobs: BlobStore, *, platform: Platform, limits: Limits, scratch: Path
    ) -> None:
        """Args: ``root`` holds ``images`` and ``refs``; ``platform`` is what images must be for."""
        self._images = root / "images"
        self._refs = root / "refs"
        self._blobs = blobs
        self._platform = platform
        self._limits = limits
        self._scratch = scratch

    def describe(self, manifest: bytes, binds: tuple[HostBind, ...] = ()) -> ImageRecord:
        """The record of a manifest whose configuration and layers are in the blob store.

        Raises:
            InvalidManifest: a blob is missing, or layers and diff ids do not correspond.
            NoMatchingPlatform: for another machine.
            LimitExceeded: see Limits.
        """
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        parts = read_manifest(manifest, f"manifest {digest}", self._limits)
        for descriptor in (parts.config, *parts.layers):
            if not self._blobs.has(descriptor.digest):
                raise InvalidManifest(
                    f"manifest {digest} needs blob {descriptor.digest}, which is missing"
                )
        raw = self._blobs.read(parts.config.digest, self._limits.config_bytes)
        file = parse_config(raw, f"configuration {parts.config.digest}", self._limits)
        if len(file.diff_ids) != len(parts.layers):
            raise InvalidManifest(
                f"manifest {digest} has {len(parts.layers)} layers, its configuration {len(file.diff_ids)}"
            )
        if file.platform.os and not platform_fits(file.platform, self._platform):
            raise NoMatchingPlatform(
                f"image {digest} is for {file.platform}, not for {self._platform}"
            )
        layers = tuple(
            LayerRecord(digest=layer.digest, diff_id=diff_id, size_bytes=layer.size)
            for layer, diff_id in zip(parts.layers, file.diff_ids, strict=True)
        )
        return ImageRecord(
            reference="",
            digest=digest,
            config=file.config,
            layers=layers,
            size_bytes=len(manifest) + len(raw) + sum(layer.size_bytes for layer in layers),
            created=file.created,
            host_binds=binds,
        )

    def add(
        self,
        manifest: bytes,
        references: Iterable[str],
        binds: tuple[HostBind, ...] = (),
        *,
        pulled: bool = False,
    ) -> ImageRecord:
        """Make an image known; its blobs must be stored already.

        Args:
            manifest: as served or built; becomes a blob itself.
            references: point to it afterwards. The first one is the record's.
            binds: only for images made on this machine.
            pulled: the references' registry gave it.

        Raises:
            InvalidManifest, NoMatchingPlatform, LimitExceeded, InvalidReference: nothing was added.
        """
        canonical = [str(parse_reference(reference)) for reference in references]
        record = self.describe(manifest, binds)
        self._blobs.put(manifest)
        known = self.by_digest(record.digest)
        if known is None or (binds and known.host_binds != binds):
            self._write(self._images / f"{_hex(record.digest)}.json", record)
        for reference in canonical:
            self.tag(reference, record.digest, pulled=pulled)
        return msgspec.structs.replace(
            known if known is not None and not binds else record,
            reference=canonical[0] if canonical else record.digest,
        )

    def tag(self, reference: str, digest: str, *, pulled: bool = False) -> None:
        """Let a canonical reference point to a complete image."""
        path = self._ref_path(reference)
        wanted = Tagged(reference=reference, digest=digest, pulled=pulled)
        if _read(path, Tagged) != wanted:
            self._write(path, wanted)

    def mark_used(self, digest: str) -> None:
        """Remember that an image is in use now: by the time of its record."""
        try:
            os.utime(self._images / f"{_hex(digest)}.json")
        except FileNotFoundError:
            return

    def used_at(self, digest: str) -> float:
        """When an image was made known or used last, in seconds since the epoch; 0 when it is gone."""
        try:
            return (self._images / f"{_hex(digest)}.json").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def by_digest(self, digest: str) -> ImageRecord | None:
        """A complete image by its manifest digest."""
        return _read(self._images / f"{_hex(digest)}.json", ImageRecord)

    def resolve(self, reference: str) -> ImageRecord | None:
        """A complete image by any reference.

        Raises:
            InvalidReference: not a reference.
        """
        parsed = parse_reference(reference)
        tagged = _read(self._ref_path(str(parsed)), Tagged)
        digest = tagged.digest if tagged is not None else parsed.digest
        record = self.by_digest(digest) if digest else None
        return None if record is None else msgspec.structs.replace(record, reference=str(parsed))

    def untag(self, reference: str) -> bool:
        """Forget a reference; the image goes with the next garbage collection. False: it was unknown."""
        try:
            self._ref_path(str(parse_reference(reference))).unlink()
        except FileNotFoundError:
            return False
        return True

    def references(self) -> Iterator[Tagged]:
        """Every reference."""
        for path in sorted(self._refs.glob("*.json")):
            tagged = _read(path, Tagged)
            if tagged is not None:
                yield tagged

    def digests(self) -> Iterator[str]:
        """Every complete image."""
        for path in sorted(self._images.glob("*.json")):
            yield f"sha256:{path.stem}"

    def forget(self, digest: str) -> None:
        """Remove an image's record; its blobs stay until they are collected."""
        (self._images / f"{_hex(digest)}.json").unlink(missing_ok=True)

    def _write(self, path: Path, record: msgspec.Struct) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, msgspec.json.encode(record), scratch=self._scratch)

    def _ref_path(self, reference: str) -> Path:
        return self._refs / f"{hashlib.sha256(reference.encode()).hexdigest()[:32]}.json"


def _hex(digest: str) -> str:
    return digest.rpartition(":")[2]


def _read(path: Path, kind: type[T]) -> T | None:
    """A record, or None when it is absent or was written by something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
