"""Reading layers as streams: decompression, hashing, and caps on everything that a header may claim.

``tarfile`` parses the headers (ustar, pax, GNU long names, sparse files) over ``ForwardReader``, which
refuses to go back and to read more than a header may need; nothing of ``tarfile`` ever writes a file.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import zstandard

from knarr.node.images.errors import InvalidLayer, LimitExceeded
from knarr.node.images.limits import Limits

_CHUNK = 256 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW = 128 * 1024 * 1024
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


class Reader(Protocol):
    """The one method of a stream that is needed here."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""
        ...


class _Gzip:
    """gzip with several members, bounded output per step."""

    def __init__(self, source: BinaryIO, head: bytes) -> None:
        self._source = source
        self._input = head
        self._state = zlib.decompressobj(31)
        self._begun = False

    def read(self, size: int, /) -> bytes:
        while True:
            if self._state.eof:
                rest = self._state.unused_data or self._source.read(_CHUNK)
                if not rest.strip(b"\0"):
                    return b""
                self._state = zlib.decompressobj(31)
                self._input = rest
            if not self._input:
                self._input = self._source.read(_CHUNK)
                if not self._input:
                    raise InvalidLayer("gzip stream ends too early")
            try:
                out = self._state.decompress(self._input, size)
            except zlib.error as error:
                raise InvalidLayer(f"damaged gzip stream: {error}") from error
            self._input = self._state.unconsumed_tail
            if out:
                return out


class _Plain:
    def __init__(self, source: BinaryIO, head: bytes) -> None:
        self._source = source
        self._head = head

    def read(self, size: int, /) -> bytes:
        if self._head:
            out, self._head = self._head[:size], self._head[size:]
            return out
        return self._source.read(size)


class _Zstd:
    def __init__(self, source: BinaryIO, head: bytes) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._reader = decompressor.stream_reader(
            _Plain(source, head),  # type: ignore[arg-type]  # only read() is used
            read_size=_CHUNK,
            read_across_frames=True,
        )

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except zstandard.ZstdError as error:
            raise InvalidLayer(f"damaged zstd stream: {error}") from error


def decompressed(source: BinaryIO) -> Reader:
    """The content of a gzip, zstd or plain stream, told apart by the first bytes.

    Raises:
        InvalidLayer: another compression, or (while reading) damage.
    """
    head = b""
    while len(head) < 6 and (more := source.read(6 - len(head))):
        head += more
    if head.startswith(_GZIP):
        return _Gzip(source, head)
    if head.startswith(_ZSTD):
        return _Zstd(source, head)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise InvalidLayer(f"{name} compression is not supported; use gzip, zstd or none")
    return _Plain(source, head)


class ForwardReader:
    """A file object for ``tarfile``: forward only, hashing, with caps.

    Raises (from ``read`` and ``seek``):
        LimitExceeded: more bytes than the layer may have, a ratio beyond the cap, a header beyond its cap.
    """

    def __init__(self, source: Reader, limits: Limits, compressed_bytes: int) -> None:
        """Args: ``compressed_bytes`` is the size of the blob, for the ratio."""
        self._source = source
        self._limits = limits
        self._allowed = min(
            limits.layer_bytes, max(limits.ratio_from_bytes, compressed_bytes * limits.ratio)
        )
        self._position = 0
        self._hasher = hashlib.sha256()
        self._pending = b""
        self._offset = 0
        self._header_left = limits.header_bytes

    def tell(self) -> int:
        """Bytes handed out."""
        return self._position

    def begin_header(self) -> None:
        """What is read from now on belongs to one header and counts against its cap."""
        self._header_left = self._limits.header_bytes

    def begin_data(self) -> None:
        """What is read from now on is a file's content."""
        self._header_left = -1

    def read(self, size: int = -1, /) -> bytes:
        """Exactly ``size`` bytes unless the stream ends."""
        if self._header_left >= 0:
            if not 0 <= size <= self._header_left:
                raise LimitExceeded(
                    f"a tar header claims more than {self._limits.header_bytes} bytes"
                )
            self._header_left -= size
        parts = []
        while size > 0:
            data = self._take(size)
            if not data:
                break
            parts.append(data)
            size -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Move forward by reading."""
        if whence != 0 or position < self._position:
            raise InvalidLayer("a tar header points backwards")
        while self._position < position:
            if not self._take(position - self._position):
                break
        return self._position

    def drain(self) -> str:
        """Read to the end and return the digest of everything: the diff id."""
        while self._take(_CHUNK):
            pass
        return f"sha256:{self._hasher.hexdigest()}"

    def _take(self, size: int) -> bytes:
        if self._offset >= len(self._pending):
            self._pending = self._source.read(_CHUNK)
            self._offset = 0
            self._hasher.update(self._pending)
        data = self._pending[self._offset : self._offset + size]
        self._offset += len(data)
        self._position += len(data)
        if self._position > self._allowed:
            raise LimitExceeded(
                f"layer unpacks to more than {self._allowed} bytes "
                f"(at most {self._limits.layer_bytes}, and {self._limits.ratio} times its size)"
            )
        return data


def members(
    stream: ForwardReader, limits: Limits
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The entries of a tar stream in order; data must be read before the next entry is asked for.

    Raises:
        InvalidLayer: not a tar archive, or damaged.
        LimitExceeded: too many entries, or see ``ForwardReader``.
    """
    try:
        archive = tarfile.TarFile(
            fileobj=stream,  # type: ignore[arg-type]  # read, seek and tell are all it uses
            mode="r",
            errors="surrogateescape",
            encoding="utf-8",
            ignore_zeros=False,
        )
        count = 0
        while (entry := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else every entry stays in memory
            stream.begin_data()
            count += 1
            if count > limits.layer_entries:
                raise LimitExceeded(f"layer has more than {limits.layer_entries} entries")
            yield archive, entry
            stream.begin_header()
    except (tarfile.TarError, ArithmeticError, LookupError, ValueError, RecursionError) as error:
        raise InvalidLayer(f"damaged tar archive: {error}") from error
