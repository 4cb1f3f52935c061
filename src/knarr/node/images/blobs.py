"""Content-addressed blobs: ``blobs/<algorithm>/<hex>``, each complete and verified before it has its name."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from knarr.node.images.errors import DigestMismatch, LimitExceeded
from knarr.node.images.files import disk_errors, sync_directory, temporary_name, write_atomic

CHUNK = 1024 * 1024


class StoredBlob(NamedTuple):
    """What was written."""

    digest: str
    size_bytes: int


def digest_of(data: bytes) -> str:
    """``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class BlobStore:
    """Blobs on disk. Methods block; call those that move many bytes in a thread."""

    def __init__(self, root: Path, scratch: Path) -> None:
        """Args: ``root`` for the blobs, ``scratch`` for unfinished ones on the same file system."""
        self._root = root
        self._scratch = scratch

    def path(self, digest: str) -> Path:
        """Where a blob is or would be. ``digest`` must have passed ``is_digest``."""
        algorithm, _, value = digest.partition(":")
        return self._root / algorithm / value

    def has(self, digest: str) -> bool:
        """Whether the blob is complete here."""
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Bytes of a blob.

        Raises:
            FileNotFoundError: it is not here.
        """
        return self.path(digest).stat().st_size

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob as a whole, verified again.

        Raises:
            FileNotFoundError: it is not here.
            LimitExceeded: it is larger than ``limit`` bytes.
            DigestMismatch: the file was changed on disk.
        """
        path = self.path(digest)
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise LimitExceeded(f"blob {digest} is larger than {limit} bytes")
        if hashlib.new(digest.partition(":")[0], data).hexdigest() != path.name:
            raise DigestMismatch(f"blob {digest} is damaged on disk ({path}): remove that file")
        return data

    def put(self, data: bytes) -> StoredBlob:
        """Store a small blob.

        Raises:
            DiskFull: nothing was written.
        """
        digest = digest_of(data)
        path = self.path(digest)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data, scratch=self._scratch)
        return StoredBlob(digest, len(data))

    def put_stream(
        self,
        source: BinaryIO,
        *,
        expected: str = "",
        limit: int,
        moved: Callable[[int], None] | None = None,
    ) -> StoredBlob:
        """Store what ``source`` gives until its end.

        Args:
            source: read in chunks of at most 1 MiB.
            expected: the digest that the content must have, or empty.
            limit: bytes after which it fails.
            moved: told the bytes stored so far.

        Raises:
            DigestMismatch, LimitExceeded, DiskFull: nothing was stored.
        """
        algorithm = expected.partition(":")[0] or "sha256"
        hasher = hashlib.new(algorithm)
        size = 0
        temporary = temporary_name(self._scratch, "blob")
        with disk_errors(self._root):
            try:
                with temporary.open("xb") as file:
                    for chunk in _chunks(source):
                        size += len(chunk)
                        if size > limit:
                            raise LimitExceeded(f"blob is larger than {limit} bytes")
                        hasher.update(chunk)
                        file.write(chunk)
                        if moved is not None:
                            moved(size)
                    file.flush()
                    os.fsync(file.fileno())
                digest = f"{algorithm}:{hasher.hexdigest()}"
                if expected and digest != expected:
                    raise DigestMismatch(f"content of {expected} has digest {digest}")
                self.adopt(temporary, digest)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return StoredBlob(digest, size)

    def adopt(self, file: Path, digest: str) -> None:
        """Move a verified, fsynced file of this file system to its name."""
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.replace(path)
        sync_directory(path.parent)

    def remove(self, digest: str) -> int:
        """Delete a blob; returns the bytes freed, 0 when it was not there."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def __iter__(self) -> Iterator[str]:
        if not self._root.is_dir():
            return
        for algorithm in self._root.iterdir():
            for path in algorithm.iterdir():
                yield f"{algorithm.name}:{path.name}"


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk
