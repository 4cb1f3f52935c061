"""The image store of one machine: what Knarr runs, builds and loads.

A directory of plain files, safe for several processes: content has its name only when it is complete, and
changes exclude garbage collection by a shared lock on ``locks/store``. It works whether Knarr runs or not.

::

    blobs/sha256/<hex>     manifests, configurations, layers as stored     tmp/      unfinished
    images/<hex>.json      complete images                                 partial/  downloads to resume
    refs/<hash>.json       reference → manifest digest                     locks/
    layers/<32 hex>/       unpacked                                        build-cache/
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from knarr.node.images.archives import import_archive
from knarr.node.images.blobs import BlobStore
from knarr.node.images.catalog import Catalog, Tagged, read_manifest
from knarr.node.images.collect import CollectReport, collect
from knarr.node.images.errors import HostBaseMissing, InvalidArchive, NotPresent
from knarr.node.images.export import export_oci_layout
from knarr.node.images.files import locked
from knarr.node.images.layers import LayerCache
from knarr.node.images.limits import Limits
from knarr.node.images.manifests import Platform, host_platform
from knarr.node.images.records import (
    Credentials,
    HostBind,
    ImageRecord,
    Progress,
    ProgressEvent,
    PullPolicy,
    RootFs,
    no_progress,
)
from knarr.node.images.reference import Reference, parse_reference
from knarr.node.images.retention import StoredImage

HOST_LABEL = "dev.knarr.base"
_DIRECTORIES = (
    "blobs/sha256",
    "images",
    "refs",
    "layers",
    "tmp",
    "partial",
    "locks",
    "build-cache",
)


class Pulled(NamedTuple):
    """A pull's result: the manifest whose blobs are stored, and digests of indexes that led to it."""

    manifest: bytes
    index_digests: tuple[str, ...] = ()


class Puller(Protocol):
    """Brings the blobs of an image into a store (``knarr.node.images.pull``)."""

    async def pull(
        self,
        reference: Reference,
        store: "ImageStore",
        credentials: Mapping[str, Credentials],
        progress: Progress,
    ) -> Pulled:
        """Download what is missing.

        Raises:
            ImageError: with the reference in its message.
        """
        ...

    async def resolve_digest(
        self, reference: Reference, credentials: Mapping[str, Credentials]
    ) -> str:
        """The digest (of a manifest or an index) that the registry has for a reference."""
        ...


class ImageStore:
    """See the module. Construction touches nothing; ``prepare`` makes the directories."""

    def __init__(
        self,
        root: Path,
        *,
        puller: Puller | None = None,
        platform: Platform | None = None,
        limits: Limits | None = None,
        flatten: bool | None = None,
        durable: bool = True,
    ) -> None:
        """Args.

        root: ``<data>/images``.
        puller: None makes every pull fail with NotPresent.
        platform: that images must be for; None is this machine.
        flatten: one merged directory per image; None decides by privilege.
        durable: False skips ``syncfs`` after unpacking (tests).
        """
        self.root = root
        self.limits = limits or Limits()
        self.platform = platform or host_platform()
        self.scratch = root / "tmp"
        self.locks = root / "locks"
        self.blobs = BlobStore(root / "blobs", self.scratch)
        self._puller = puller
        self._catalog = Catalog(
            root, self.blobs, platform=self.platform, limits=self.limits, scratch=self.scratch
        )
        self._layers = LayerCache(
            root / "layers",
            self.blobs,
            scratch=self.scratch,
            locks=self.locks,
            limits=self.limits,
            flatten=flatten,
            durable=durable,
        )

    def prepare(self) -> None:
        """Make the directories, readable by this user only: layers may hold setuid programs."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in _DIRECTORIES:
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Keep garbage collection away while blobs are stored that nothing refers to yet."""
        self.prepare()
        async with locked(self.locks / "store", exclusive=False):
            yield

    # --- looking ------------------------------------------------------------------------------------

    def resolve(self, reference: str) -> ImageRecord | None:
        """A complete local image by tag or digest; never asks a registry.

        Raises:
            InvalidReference: not a reference.
        """
        return self._catalog.resolve(reference)

    def list(self) -> tuple[ImageRecord, ...]:
        """One record per reference, sorted, then images that no reference names."""
        records = []
        named = set()
        for tagged in self._catalog.references():
            record = self._catalog.by_digest(tagged.digest)
            if record is not None:
                named.add(record.digest)
                records.append(msgspec.structs.replace(record, reference=tagged.reference))
        records.sort(key=lambda record: record.reference)
        for digest in self._catalog.digests():
            record = self._catalog.by_digest(digest) if digest not in named else None
            if record is not None:
                records.append(msgspec.structs.replace(record, reference=""))
        return tuple(records)

    # --- getting ------------------------------------------------------------------------------------

    async def ensure(
        self,
        reference: str,
        *,
        policy: PullPolicy,
        credentials: Mapping[str, Credentials] | None = None,
        progress: Progress = no_progress,
    ) -> ImageRecord:
        """The image, pulled when the policy says so.

        ``Always`` asks the registry for the tag's digest and downloads only what differs; a reference by
        digest that is present is never asked for again. ``knarr.local`` is never pulled.

        Args:
            reference: any form.
            policy: of the container.
            credentials: by registry host as it stands in references (``docker.io``, ``host:port``).
            progress: told about every step; called from this task.

        Raises:
            InvalidReference, NotPresent, PullError, InvalidManifest, LimitExceeded, DigestMismatch, DiskFull:
                each message names the reference.
        """
        parsed = parse_reference(reference)
        found = self.resolve(reference)
        if parsed.is_local or policy == "Never" or self._puller is None:
            if found is None:
                raise NotPresent(_why_absent(parsed, policy))
            return found
        if found is not None and (policy == "IfNotPresent" or parsed.digest):
            return found
        async with self.changing(), locked(self.locks / f"pull-{hash_name(str(parsed))}"):
            found = self.resolve(reference)
            if found is not None and (policy == "IfNotPresent" or parsed.digest):
                return found
            return await self._pull(self._puller, parsed, credentials or {}, progress)

    async def _pull(
        self,
        puller: Puller,
        reference: Reference,
        credentials: Mapping[str, Credentials],
        progress: Progress,
    ) -> ImageRecord:
        pulled = await puller.pull(reference, self, credentials, progress)
        names = [str(reference), *(str(reference.at(digest)) for digest in pulled.index_digests)]
        record = self._catalog.add(pulled.manifest, names, pulled=True)
        progress(ProgressEvent(stage="done", subject=str(reference), message=record.digest))
        return record

    async def load(
        self, path: Path, *, reference: str = "", progress: Progress = no_progress
    ) -> tuple[ImageRecord, ...]:
        """Bring the images of an OCI layout or a ``docker save`` archive into the store.

        Args:
            path: a directory, or a tar archive, maybe gzip or zstd.
            reference: the name to give; only for archives with one image. Empty keeps their names.
            progress: called from a thread.

        Raises:
            InvalidArchive, NoMatchingPlatform, InvalidReference, LimitExceeded, DigestMismatch, DiskFull:
                nothing was added to the catalogue.
        """
        if reference:
            parse_reference(reference)
        async with self.changing():
            found = await asyncio.to_thread(
                import_archive,
                path,
                self.blobs,
                platform=self.platform,
                limits=self.limits,
                progress=progress,
            )
            if reference and len(found) > 1:
                names = ", ".join(name for image in found for name in image.references)
                raise InvalidArchive(
                    f"{path} holds {len(found)} images ({names}); load it without a name"
                )
            return tuple(
                self._catalog.add(image.manifest, (reference,) if reference else image.references)
                for image in found
            )

    def add_image(
        self, manifest: bytes, references: Iterable[str], *, host_binds: tuple[HostBind, ...] = ()
    ) -> ImageRecord:
        """Make an image known whose blobs were stored inside ``changing``.

        Args:
            manifest: encoded.
            references: to point to it.
            host_binds: only what this machine's own build decided, never anything read from an image.
        """
        return self._catalog.add(manifest, references, host_binds)

    def tag(self, record: ImageRecord, reference: str) -> None:
        """Let another reference point to an image."""
        self._catalog.tag(str(parse_reference(reference)), record.digest)

    # --- using --------------------------------------------------------------------------------------

    async def layers(self, image: ImageRecord, progress: Progress = no_progress) -> RootFs:
        """The image's files, unpacked on first use.

        Raises:
            InvalidLayer, LimitExceeded, DigestMismatch, DiskFull: a layer cannot be used.
            HostBaseMissing: a host path that the image was built on is gone.
        """
        _check_binds(image)
        directories = self._layers.existing(image.layers)
        if directories is None:
            async with self.changing():
                directories = await self._layers.ensure(image.layers, progress)
        return RootFs(lower_dirs=directories, binds=image.host_binds)

    async def export(self, record: ImageRecord, path: Path) -> None:
        """Write an OCI layout directory.

        Raises:
            InvalidArchive: ``path`` is not empty.
            DiskFull: no space.
        """
        manifest = self.blobs.read(record.digest, self.limits.manifest_bytes)
        parts = read_manifest(manifest, record.digest, self.limits)
        async with self.changing():
            await asyncio.to_thread(
                export_oci_layout, record, self.blobs, parts.config.digest, path, self.platform
            )

    # --- removing -----------------------------------------------------------------------------------

    def remove(self, reference: str) -> bool:
        """Forget a reference, or with a bare ``sha256:…`` every reference to that image.

        The content goes with the next ``collect_garbage``. Returns False when nothing had that name.
        """
        if reference.startswith("sha256:"):
            doomed = [
                item.reference for item in self._catalog.references() if item.digest == reference
            ]
            return len([name for name in doomed if self._catalog.untag(name)]) > 0
        return self._catalog.untag(reference)

    def inventory(self, in_use: Collection[str]) -> tuple[StoredImage, ...]:
        """Every image as retention judges it; those in use are remembered to be. Blocks for small files."""
        for digest in in_use:
            self._catalog.mark_used(digest)
        tags: dict[str, list[Tagged]] = {digest: [] for digest in self._catalog.digests()}
        for tagged in self._catalog.references():
            if tagged.digest in tags:
                tags[tagged.digest].append(tagged)
        found = []
        for digest, named in tags.items():
            record = self._catalog.by_digest(digest)
            if record is not None:
                found.append(
                    StoredImage(
                        digest=digest,
                        references=tuple(one.reference for one in named),
                        pullable=all(one.pulled for one in named),
                        size_bytes=record.size_bytes,
                        used_at=self._catalog.used_at(digest),
                    )
                )
        return tuple(found)

    async def collect_garbage(
        self,
        in_use: Collection[str],
        *,
        wait_s: float = 5.0,
        on_remove: Callable[[str], None] | None = None,
    ) -> CollectReport:
        """Remove images without a reference, and blobs and layers without an image.

        Args:
            in_use: manifest digests of images that sandboxes were made from; they stay.
            wait_s: how long to wait for pulls, builds and unpacking of all processes to end.
            on_remove: told each name removed.

        Raises:
            StoreBusy: they did not end.
        """
        self.prepare()
        async with locked(self.locks / "store", wait_s=wait_s):
            return await asyncio.to_thread(
                collect, self, self._catalog, self._layers, frozenset(in_use), on_remove
            )


def hash_name(text: str) -> str:
    """A file name for arbitrary text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _check_binds(image: ImageRecord) -> None:
    """The label of an image is only ever believed when it says that something is missing."""
    if image.config.labels.get(HOST_LABEL) == "host" and not image.host_binds:
        raise HostBaseMissing(
            f"image {image.reference} was built on another machine's interpreter (base host): build "
            "it here, or with --base and a base image"
        )
    for bind in image.host_binds:
        if not Path(bind.source).exists():
            raise HostBaseMissing(
                f"image {image.reference} was built on {bind.source} of this machine, which is gone: "
                "build it again with 'knarr build'"
            )


def _why_absent(reference: Reference, policy: PullPolicy) -> str:
    if reference.is_local:
        name = reference.repository
        return (
            f"image {reference} is not on this machine and knarr.local images are never pulled: make it with "
            f"'knarr build' (as {name!r}) or 'knarr image load'"
        )
    if policy == "Never":
        return (
            f"image {reference} is not on this machine and imagePullPolicy is Never: "
            f"run 'knarr image pull {reference}'"
        )
    return f"image {reference} is not on this machine and pulling is switched off"
