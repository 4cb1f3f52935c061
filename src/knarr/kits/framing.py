"""Frames on a byte stream: a big-endian u32 length, then that many bytes (``docs/protocol.md``)."""

import asyncio
import struct

_LENGTH = struct.Struct(">I")
DEFAULT_MAX_BYTES = 64 * 1024 * 1024


class FrameError(ConnectionError):
    """The peer broke the framing; the connection is of no further use."""


def encode_frame(body: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """Length and body as they go on the wire.

    Raises:
        FrameError: the body is longer than ``max_bytes``; nothing was sent.
    """
    if len(body) > max_bytes:
        raise FrameError(f"a frame of {len(body)} bytes exceeds the limit of {max_bytes}")
    return _LENGTH.pack(len(body)) + body


async def read_frame(
    reader: asyncio.StreamReader, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> bytes | None:
    """The next frame's body, or None when the peer closed between two frames.

    Cancellation may lose the part of a frame that was read already: close the connection then.

    Raises:
        FrameError: the length exceeds ``max_bytes`` or the stream ended inside a frame.
        OSError: the connection broke.
    """
    try:
        header = await reader.readexactly(_LENGTH.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise FrameError("the stream ended inside a frame's length") from error
        return None
    (length,) = _LENGTH.unpack(header)
    if length > max_bytes:
        raise FrameError(f"the peer announced {length} bytes, the limit is {max_bytes}")
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise FrameError(
            f"the stream ended after {len(error.partial)} of {length} bytes of a frame"
        ) from error


async def write_frame(
    writer: asyncio.StreamWriter, body: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> None:
    """Send one frame and wait while the peer is slow (back-pressure).

    The frame is handed to the transport whole before the first await: tasks that share a writer do not
    interleave their bytes.

    Raises:
        FrameError: the body is too long; nothing was sent.
        OSError: the connection broke.
    """
    writer.write(encode_frame(body, max_bytes=max_bytes))
    await writer.drain()
