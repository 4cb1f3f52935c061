import asyncio

import pytest

from knarr.kits.framing import FrameError, encode_frame, read_frame, write_frame


def reader_of(data: bytes, *, ended: bool = True) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    if ended:
        reader.feed_eof()
    return reader


def test_the_length_is_a_big_endian_u32():
    assert encode_frame(b"{}") == b"\x00\x00\x00\x02{}"


async def test_frames_come_out_as_they_went_in():
    reader = reader_of(encode_frame(b'{"a":1}') + encode_frame(b"") + encode_frame(b"x" * 70_000))

    assert await read_frame(reader) == b'{"a":1}'
    assert await read_frame(reader) == b""
    assert await read_frame(reader) == b"x" * 70_000
    assert await read_frame(reader) is None


@pytest.mark.parametrize("cut", [1, 3, 4, 6])
async def test_a_stream_that_ends_inside_a_frame_is_an_error(cut):
    reader = reader_of(encode_frame(b"{  }")[:cut])

    with pytest.raises(FrameError, match="ended"):
        await read_frame(reader)


async def test_an_announced_length_beyond_the_limit_is_refused_before_reading_it():
    reader = reader_of(b"\xff\xff\xff\xff", ended=False)

    with pytest.raises(FrameError, match="4294967295 bytes, the limit is 1000"):
        await read_frame(reader, max_bytes=1000)


def test_a_body_beyond_the_limit_is_not_sent():
    with pytest.raises(FrameError, match="exceeds the limit of 3"):
        encode_frame(b"1234", max_bytes=3)


async def test_tasks_that_share_a_writer_do_not_interleave(tmp_path):
    received: list[bytes] = []
    finished = asyncio.Event()

    async def serve(reader, writer):
        while (frame := await read_frame(reader)) is not None:
            received.append(frame)
        writer.close()
        finished.set()

    path = str(tmp_path / "s")
    async with await asyncio.start_unix_server(serve, path):
        _, writer = await asyncio.open_unix_connection(path)
        bodies = [bytes([65 + number]) * 50_000 for number in range(20)]
        async with asyncio.TaskGroup() as group:
            for body in bodies:
                group.create_task(write_frame(writer, body))
        writer.close()
        await writer.wait_closed()
        await finished.wait()

    assert sorted(received) == bodies
