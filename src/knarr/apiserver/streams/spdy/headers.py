"""Header blocks of SPDY/3: name/value pairs behind one zlib stream per direction.

Source: SPDY/3 draft, sections 2.6.10 and 2.6.10.1.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping

_COUNT = struct.Struct(">I")
MAX_HEADERS = 64
MAX_BLOCK_BYTES = 32 * 1024
"""Of a block after decompression."""

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date "
    "etag expect expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified location max-forwards pragma proxy-authenticate "
    "proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _prefixed(texts: Iterable[str]) -> bytes:
    encoded = (text.encode() for text in texts)
    return b"".join(_COUNT.pack(len(text)) + text for text in encoded)


DICTIONARY = _prefixed((*_NAMES.split(" "), *_MORE)) + _TEXT.encode()


class HeaderError(ValueError):
    """A header block that cannot be read; the compression state is lost with it."""


class HeaderDecoder:
    """Reads the blocks of one direction, in order."""

    __slots__ = ("_zlib",)

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def decode(self, block: bytes) -> dict[str, str]:
        """The headers of one block, names in lower case; values of a repeated name end in NUL as sent.

        Raises:
            HeaderError: it is malformed or beyond the limits.
        """
        try:
            data = self._zlib.decompress(block, MAX_BLOCK_BYTES)
        except zlib.error as error:
            raise HeaderError(f"the header block cannot be decompressed: {error}") from error
        if self._zlib.unconsumed_tail or self._zlib.unused_data:
            raise HeaderError(f"the header block exceeds {MAX_BLOCK_BYTES} bytes")
        return parse_pairs(data)


class HeaderEncoder:
    """Writes the blocks of one direction, in order."""

    __slots__ = ("_zlib",)

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(level=1, zdict=DICTIONARY)

    def encode(self, headers: Mapping[str, str]) -> bytes:
        """One block."""
        pairs = [part for pair in headers.items() for part in pair]
        data = _COUNT.pack(len(headers)) + _prefixed(pairs)
        return self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


def parse_pairs(data: bytes) -> dict[str, str]:
    """The pairs of a decompressed block. Pure.

    Raises:
        HeaderError: lengths do not add up, a name is empty, repeated, or not ASCII.
    """
    if len(data) < _COUNT.size:
        raise HeaderError("the header block has no count")
    (count,) = _COUNT.unpack_from(data)
    if count > MAX_HEADERS:
        raise HeaderError(f"the header block has {count} headers, the limit is {MAX_HEADERS}")
    offset = _COUNT.size
    headers: dict[str, str] = {}
    for _ in range(count):
        name, offset = _text(data, offset)
        value, offset = _text(data, offset)
        name = name.lower()
        if not name or name in headers:
            raise HeaderError(f"the header name {name!r} is empty or repeated")
        headers[name] = value
    if offset != len(data):
        raise HeaderError("the header block is longer than its headers")
    return headers


def _text(data: bytes, offset: int) -> tuple[str, int]:
    start = offset + _COUNT.size
    if start > len(data):
        raise HeaderError("the header block ends inside a length")
    (length,) = _COUNT.unpack_from(data, offset)
    end = start + length
    if end > len(data):
        raise HeaderError("the header block ends inside a text")
    try:
        return data[start:end].decode(), end
    except UnicodeDecodeError as error:
        raise HeaderError("a header is not UTF-8") from error
