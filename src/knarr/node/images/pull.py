"""Pulling: from a reference to blobs in the store.

Layers come concurrently (three at a time), each into ``partial/<digest>``, under a lock that other processes
respect; a pull that breaks off, or a process that dies, leaves a part that the next one continues. A blob
gets its name only with the right digest. Attempts start anew whenever bytes arrived.
"""

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from knarr.kits.clock import Clock
from knarr.node.images.blobs import CHUNK
from knarr.node.images.catalog import Manifest, read_manifest
from knarr.node.images.errors import (
    DigestMismatch,
    DiskFull,
    ImageError,
    InvalidManifest,
    LimitExceeded,
    NoMatchingPlatform,
    RegistryUnavailable,
)
from knarr.node.images.files import disk_errors, free_bytes, locked
from knarr.node.images.manifests import (
    Descriptor,
    parse_config,
    parse_document,
    platform_fits,
    select_manifest,
)
from knarr.node.images.records import Credentials, Progress, ProgressEvent
from knarr.node.images.reference import Reference
from knarr.node.images.registry import RegistryClient
from knarr.node.images.registryhttp import NETWORK_ERRORS
from knarr.node.images.store import ImageStore, Pulled

_CONCURRENT = 3
_RESERVE_BYTES = 64 * 1024 * 1024
T = TypeVar("T")


class RegistryPuller:
    """``store.Puller`` over a ``RegistryClient``."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    async def resolve_digest(
        self, reference: Reference, credentials: Mapping[str, Credentials]
    ) -> str:
        """See ``RegistryClient.resolve_digest``."""
        return await self._client.resolve_digest(reference, credentials)

    async def pull(
        self,
        reference: Reference,
        store: ImageStore,
        credentials: Mapping[str, Credentials],
        progress: Progress,
    ) -> Pulled:
        """See ``Puller.pull``; every message begins with ``failed to pull image "<reference>": ``."""
        with _naming(reference):
            progress(ProgressEvent(stage="resolve", subject=str(reference)))
            known = await self._known(reference, store, credentials)
            if known is not None:
                return known
            return await _Pull(self._client, reference, store, credentials, progress).run()

    async def _known(
        self, reference: Reference, store: ImageStore, credentials: Mapping[str, Credentials]
    ) -> Pulled | None:
        """What is here already, when the registry's digest for the tag leads to a complete image."""
        record = store.resolve(str(reference))
        if record is None or reference.digest:
            return None
        digest = await self._client.resolve_digest(reference, credentials)
        same = store.resolve(str(reference.at(digest)))
        if same is None:
            return None
        manifest = store.blobs.read(same.digest, store.limits.manifest_bytes)
        return Pulled(manifest, (digest,) if digest != same.digest else ())


@contextlib.asynccontextmanager
async def pulling_store(
    root: Path, *, clock: Clock, rng: random.Random
) -> AsyncIterator[ImageStore]:
    """A store that can pull, with a registry client of its own; for commands that run once.

    Args:
        root: ``<data>/images``.
        clock: for the expiry of tokens.
        rng: for jitter.
    """
    async with RegistryClient(clock=clock, rng=rng) as client:
        yield ImageStore(root, puller=RegistryPuller(client))


@contextlib.contextmanager
def _naming(reference: Reference) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise type(error)(f'failed to pull image "{reference}": {error.message}') from error


class _Pull:
    """One pull."""

    def __init__(
        self,
        client: RegistryClient,
        reference: Reference,
        store: ImageStore,
        credentials: Mapping[str, Credentials],
        progress: Progress,
    ) -> None:
        self._client = client
        self._reference = reference
        self._store = store
        self._credentials = credentials
        self._progress = progress

    async def run(self) -> Pulled:
        """Manifest, configuration, layers."""
        manifest, parts, indexes = await self._find_manifest()
        await self._fetch(parts.config)
        self._check_platform(parts)
        missing = [
            layer
            for layer in {layer.digest: layer for layer in parts.layers}.values()
            if not self._present(layer)
        ]
        self._check_space(sum(layer.size for layer in missing))
        await self._fetch_all(missing)
        return Pulled(manifest, indexes)

    async def _find_manifest(self) -> tuple[bytes, Manifest, tuple[str, ...]]:
        """The manifest for this machine, and the digests of indexes on the way."""
        reference = self._reference
        indexes: list[str] = []
        for _ in range(self._store.limits.index_depth + 1):
            fetched = await self._client.manifest(reference, self._credentials)
            what = f"manifest {fetched.digest}"
            document = parse_document(fetched.data, what, self._store.limits)
            if not document.is_index:
                return (
                    fetched.data,
                    read_manifest(fetched.data, what, self._store.limits),
                    tuple(indexes),
                )
            indexes.append(fetched.digest)
            chosen = select_manifest(document, self._store.platform, str(self._reference))
            reference = self._reference.at(chosen.digest)
        raise LimitExceeded(f"indexes are nested more than {self._store.limits.index_depth} deep")

    def _check_platform(self, parts: Manifest) -> None:
        """Before the layers: an image for another machine should not cost a download."""
        limit = self._store.limits.config_bytes
        raw = self._store.blobs.read(parts.config.digest, limit)
        file = parse_config(raw, f"configuration {parts.config.digest}", self._store.limits)
        if file.platform.os and not platform_fits(file.platform, self._store.platform):
            raise NoMatchingPlatform(
                f"it has no image for {self._store.platform}; it offers: {file.platform}"
            )

    def _present(self, blob: Descriptor) -> bool:
        if not self._store.blobs.has(blob.digest):
            return False
        self._progress(
            ProgressEvent(
                stage="present", subject=blob.digest, done_bytes=blob.size, total_bytes=blob.size
            )
        )
        return True

    def _check_space(self, needed: int) -> None:
        free = free_bytes(self._store.root)
        if needed + _RESERVE_BYTES > free:
            raise DiskFull(
                f"it needs {needed >> 20} MiB below {self._store.root}, where {free >> 20} MiB are free: "
                "free some space, remove images with 'knarr image rm', or move the data with --data-dir"
            )

    async def _fetch_all(self, blobs: list[Descriptor]) -> None:
        slots = asyncio.Semaphore(_CONCURRENT)

        async def one(blob: Descriptor) -> None:
            async with slots:
                await self._fetch(blob)

        await _gather([one(blob) for blob in blobs])

    async def _fetch(self, blob: Descriptor) -> None:
        """One blob; another process that is fetching it is waited for."""
        name = blob.digest.replace(":", "-")
        async with locked(self._store.locks / f"blob-{name}"):
            if not self._store.blobs.has(blob.digest):
                if blob.urls:
                    raise InvalidManifest(f"layer {blob.digest} is not distributed by the registry")
                await _Download(self._store.root / "partial" / name, blob).run(self)

    async def stream_into(self, part: "_Download") -> None:
        """Feed a download from the registry until it is complete; ask again after broken connections."""
        attempt = 1
        while not part.complete:
            before = part.size
            try:
                async with self._client.blob(
                    self._reference, part.blob.digest, part.size, self._credentials
                ) as stream:
                    await part.rewind(stream.offset)
                    async for chunk in stream.chunks:
                        await part.write(chunk)
                        self._report(part)
                await part.flush()
                trouble = RegistryUnavailable(
                    f"registry {self._reference.registry} ended blob {part.blob.digest} after {part.size} of "
                    f"{part.blob.size} bytes"
                )
            except NETWORK_ERRORS as error:
                await part.flush()
                trouble = RegistryUnavailable(
                    f"connection to {self._reference.registry} broke after {part.size} of {part.blob.size} "
                    f"bytes of {part.blob.digest}: {str(error) or type(error).__name__}"
                )
            if not part.complete:
                attempt = 1 if part.size > before else attempt
                await self._client.backoff.wait(attempt, trouble)
                attempt += 1
        self._report(part)

    def _report(self, part: "_Download") -> None:
        self._progress(
            ProgressEvent(
                stage="download",
                subject=part.blob.digest,
                done_bytes=part.size,
                total_bytes=part.blob.size,
            )
        )

    def adopt(self, path: Path, digest: str) -> None:
        """Give a verified file its name in the blob store."""
        self._store.blobs.adopt(path, digest)


class _Download:
    """A file that grows to a blob. Chunks are collected to 1 MiB before they cost a thread."""

    def __init__(self, path: Path, blob: Descriptor) -> None:
        self.blob = blob
        self.size = 0
        self._path = path
        self._descriptor = -1
        self._hasher = hashlib.new(blob.digest.partition(":")[0])
        self._pending = bytearray()

    @property
    def complete(self) -> bool:
        """Every byte is here (verified only by ``run``)."""
        return self.size == self.blob.size

    async def run(self, pull: _Pull) -> None:
        """Download, verify, adopt.

        Raises:
            DigestMismatch: twice, the second time from the first byte.
            DiskFull: the part is removed to give the space back.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        try:
            with disk_errors(self._path.parent):
                resumed = await asyncio.to_thread(self._rehash)
                await pull.stream_into(self)
                if not self._matches() and resumed:
                    await self.rewind(0)
                    await pull.stream_into(self)
                if not self._matches():
                    self._path.unlink(missing_ok=True)
                    raise DigestMismatch(
                        f"blob {self.blob.digest} arrived with digest {self._hasher.hexdigest()}"
                    )
                await _finished(os.fsync, self._descriptor)
                await asyncio.to_thread(pull.adopt, self._path, self.blob.digest)
        except DiskFull:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            os.close(self._descriptor)

    def _matches(self) -> bool:
        return self._hasher.hexdigest() == self.blob.digest.partition(":")[2]

    def _rehash(self) -> bool:
        """Take up what an earlier attempt left; True when there was something."""
        size = self._path.stat().st_size
        if size > self.blob.size:
            os.truncate(self._path, 0)
            return False
        # A descriptor of its own: a cancelled caller does not wait for this thread.
        with self._path.open("rb") as file:
            while data := file.read(CHUNK):
                self._hasher.update(data)
                self.size += len(data)
        return size > 0

    async def rewind(self, offset: int) -> None:
        """Go on at ``offset``: where we are, or 0 when the registry starts over."""
        if offset == self.size:
            return
        if offset != 0:
            raise RegistryUnavailable(f"blob {self.blob.digest} continues at an unknown place")
        self._pending.clear()
        self.size = 0
        self._hasher = hashlib.new(self.blob.digest.partition(":")[0])
        os.ftruncate(self._descriptor, 0)

    async def write(self, chunk: bytes) -> None:
        """Take bytes.

        Raises:
            DigestMismatch: more than the manifest says.
        """
        self.size += len(chunk)
        if self.size > self.blob.size:
            self._pending.clear()
            os.ftruncate(self._descriptor, 0)
            raise DigestMismatch(f"blob {self.blob.digest} is longer than {self.blob.size} bytes")
        self._pending += chunk
        if len(self._pending) >= CHUNK:
            await self.flush()

    async def flush(self) -> None:
        """Bring what was taken to the file and the hash."""
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            await _finished(self._append, data, self.size - len(data))

    def _append(self, data: bytes, position: int) -> None:
        self._hasher.update(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, position)
            view, position = view[written:], position + written


async def _finished(action: Callable[..., T], *arguments: object) -> T:
    """Run in a thread and never return before it ends: it uses a descriptor that the caller closes."""
    future = asyncio.get_running_loop().run_in_executor(None, action, *arguments)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        future.exception()
        raise


async def _gather(work: list[Coroutine[Any, Any, None]]) -> None:
    """All of it, at once; the first failure cancels the rest and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for item in work:
                group.create_task(item)
    except* ImageError as errors:
        raise _first(errors) from None


def _first(group: BaseExceptionGroup[ImageError]) -> ImageError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
