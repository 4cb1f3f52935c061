"""SPDY/3.1 frames: bytes to frames and back. Pure.

Source: SPDY/3.1 draft, section 2.6; big-endian throughout. A frame is eight bytes of head and a body of up to
2^24 - 1 bytes, of which this server accepts ``MAX_FRAME_BYTES``.
"""

import struct
from dataclasses import dataclass

VERSION = 3
MAX_FRAME_BYTES = 1 << 20
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = (
    1, 2, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
FLAG_FIN, FLAG_UNIDIRECTIONAL = 1, 2

PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, UNSUPPORTED_VERSION, CANCEL = 1, 2, 3, 4, 5
INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_IN_USE, STREAM_ALREADY_CLOSED = 6, 7, 8, 9
GO_AWAY_OK, GO_AWAY_PROTOCOL_ERROR = 0, 1
SETTING_INITIAL_WINDOW = 7

_HEAD = struct.Struct(">II")
_WORD = struct.Struct(">I")
_TWO = struct.Struct(">II")
_SYN_STREAM = struct.Struct(">IIBB")
_CONTROL = 1 << 31
_ID = (1 << 31) - 1
_LENGTH = (1 << 24) - 1


class SpdyError(ValueError):
    """The peer broke the protocol; the connection is of no further use."""


@dataclass(frozen=True, slots=True)
class DataFrame:
    """Bytes of a stream."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """Any control frame, its body unread."""

    kind: int
    flags: int
    body: bytes


Frame = DataFrame | ControlFrame


class FrameReader:
    """Cuts bytes into frames; holds at most one unfinished frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes.

        Raises:
            SpdyError: a frame is too long or of another version.
        """
        rest = self._rest
        rest += data
        frames: list[Frame] = []
        offset = 0
        while len(rest) - offset >= _HEAD.size:
            first, second = _HEAD.unpack_from(rest, offset)
            length = second & _LENGTH
            if length > MAX_FRAME_BYTES:
                raise SpdyError(f"a frame of {length} bytes exceeds the limit of {MAX_FRAME_BYTES}")
            end = offset + _HEAD.size + length
            if end > len(rest):
                break
            body = bytes(rest[offset + _HEAD.size : end])
            frames.append(_frame(first, second >> 24, body))
            offset = end
        del rest[:offset]
        return frames


def _frame(first: int, flags: int, body: bytes) -> Frame:
    if not first & _CONTROL:
        return DataFrame(first & _ID, body, bool(flags & FLAG_FIN))
    version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
    if version != VERSION:
        raise SpdyError(f"SPDY version {version} is not spoken here")
    return ControlFrame(kind, flags, body)


def stream_of(body: bytes, size: int = 4) -> int:
    """The stream a control frame is about.

    Raises:
        SpdyError: the body has fewer than ``size`` bytes.
    """
    if len(body) < size:
        raise SpdyError("a control frame is too short")
    return int(_WORD.unpack_from(body)[0]) & _ID


def second_word(body: bytes) -> int:
    """The word after the stream: a status, or a window's growth.

    Raises:
        SpdyError: there is none.
    """
    if len(body) != _TWO.size:
        raise SpdyError("a control frame has the wrong length")
    return int(_TWO.unpack(body)[1])


def syn_stream_block(body: bytes) -> bytes:
    """The header block of a SYN_STREAM.

    Raises:
        SpdyError: the body is too short.
    """
    if len(body) < _SYN_STREAM.size:
        raise SpdyError("a SYN_STREAM is too short")
    return body[_SYN_STREAM.size :]


def settings_of(body: bytes) -> dict[int, int]:
    """The settings by id.

    Raises:
        SpdyError: the count does not match.
    """
    if len(body) < _WORD.size:
        raise SpdyError("a SETTINGS frame is too short")
    (count,) = _WORD.unpack_from(body)
    if len(body) != _WORD.size + count * _TWO.size:
        raise SpdyError("a SETTINGS frame has the wrong length")
    pairs = (_TWO.unpack_from(body, _WORD.size + _TWO.size * index) for index in range(count))
    return {int(flags_and_id) & _LENGTH: int(value) for flags_and_id, value in pairs}


def data_frame(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """A DATA frame."""
    flags = FLAG_FIN if fin else 0
    return _HEAD.pack(stream, flags << 24 | len(data)) + data


def control_frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A control frame."""
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(body)) + body


def syn_stream(stream: int, block: bytes, *, fin: bool = False) -> bytes:
    """A SYN_STREAM without priority (clients send it)."""
    return control_frame(
        SYN_STREAM, _SYN_STREAM.pack(stream, 0, 0, 0) + block, FLAG_FIN if fin else 0
    )


def syn_reply(stream: int, block: bytes) -> bytes:
    """A SYN_REPLY."""
    return control_frame(SYN_REPLY, _WORD.pack(stream) + block)


def rst_stream(stream: int, status: int) -> bytes:
    """A RST_STREAM."""
    return control_frame(RST_STREAM, _TWO.pack(stream, status))


def ping(identifier: int) -> bytes:
    """A PING."""
    return control_frame(PING, _WORD.pack(identifier))


def go_away(last_stream: int, status: int) -> bytes:
    """A GOAWAY."""
    return control_frame(GOAWAY, _TWO.pack(last_stream, status))


def window_update(stream: int, growth: int) -> bytes:
    """A WINDOW_UPDATE; stream 0 is the connection."""
    return control_frame(WINDOW_UPDATE, _TWO.pack(stream, growth))


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return control_frame(
        SETTINGS, _WORD.pack(len(values)) + b"".join(_TWO.pack(*pair) for pair in values.items())
    )
