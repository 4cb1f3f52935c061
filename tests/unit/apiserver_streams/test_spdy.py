import asyncio
import struct
import zlib

import pytest

from knarr.apiserver.streams.duplex import PeerGone
from knarr.apiserver.streams.spdy import frames
from knarr.apiserver.streams.spdy.connection import (
    MAX_STREAMS,
    Aborted,
    Connection,
    Opened,
    Received,
    WentAway,
    WindowsGrew,
)
from knarr.apiserver.streams.spdy.frames import ControlFrame, DataFrame, FrameReader, SpdyError
from knarr.apiserver.streams.spdy.headers import (
    DICTIONARY,
    MAX_BLOCK_BYTES,
    HeaderDecoder,
    HeaderEncoder,
    HeaderError,
    parse_pairs,
)
from knarr.apiserver.streams.spdy.server import serving


def text(value: str) -> bytes:
    return struct.pack(">I", len(value)) + value.encode()


class Client:
    """The other side, as far as tests need it."""

    def __init__(self) -> None:
        self.encoder = HeaderEncoder()
        self.decoder = HeaderDecoder()
        self.reader = FrameReader()
        self.next = 1

    def open(self, *, fin: bool = False, **headers: str) -> tuple[int, bytes]:
        number, self.next = self.next, self.next + 2
        return number, frames.syn_stream(number, self.encoder.encode(headers), fin=fin)

    def read(self, data: bytes) -> list:
        found = []
        for frame in self.reader.feed(data):
            if isinstance(frame, DataFrame):
                found.append(("data", frame.stream, frame.data, frame.fin))
            elif frame.kind == frames.SYN_REPLY:
                self.decoder.decode(frame.body[4:])
                found.append(("reply", frames.stream_of(frame.body)))
            elif frame.kind == frames.PING:
                found.append(("ping", frames.stream_of(frame.body)))
            else:
                found.append((frame.kind, *struct.unpack(">II", frame.body)))
        return found


def test_the_dictionary_is_the_published_one():
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_headers_survive_and_names_are_lower_case():
    encoder, decoder = HeaderEncoder(), HeaderDecoder()
    for headers in ({"streamtype": "data", "port": "80"}, {}, {"streamtype": "data", "port": "80"}):
        assert decoder.decode(encoder.encode(headers)) == headers
    assert decoder.decode(encoder.encode({"StreamType": "x"})) == {"streamtype": "x"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack(">I", 1),
        struct.pack(">I", 1) + text("a"),
        struct.pack(">I", 1) + text("a") + struct.pack(">I", 5) + b"xx",
        struct.pack(">I", 1) + text("") + text("b"),
        struct.pack(">I", 2) + (text("a") + text("b")) * 2,
        struct.pack(">I", 65),
        struct.pack(">I", 0) + b"rest",
        struct.pack(">I", 1) + struct.pack(">I", 1) + b"\xff" + text("b"),
    ],
)
def test_malformed_blocks_are_refused(data):
    with pytest.raises(HeaderError):
        parse_pairs(data)


def test_a_block_that_swells_is_refused():
    packer = zlib.compressobj(zdict=DICTIONARY)
    block = packer.compress(b"\0" * (MAX_BLOCK_BYTES * 100)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(block) < 8192
    with pytest.raises(HeaderError, match="exceeds"):
        HeaderDecoder().decode(block)


def test_a_block_that_is_no_zlib_is_refused():
    with pytest.raises(HeaderError, match="decompressed"):
        HeaderDecoder().decode(b"garbage")


def test_frames_are_cut_wherever_the_bytes_are():
    wire = frames.ping(1) + frames.data_frame(3, b"hello", fin=True) + frames.rst_stream(3, 5)
    reader = FrameReader()
    found = [frame for index in range(len(wire)) for frame in reader.feed(wire[index : index + 1])]
    assert found == FrameReader().feed(wire)
    assert [type(one) for one in found] == [ControlFrame, DataFrame, ControlFrame]


def test_a_frame_that_is_too_long_is_refused_by_its_head():
    head = struct.pack(">II", 1, frames.MAX_FRAME_BYTES + 1)
    with pytest.raises(SpdyError, match="exceeds"):
        FrameReader().feed(head)


def test_another_version_is_refused():
    with pytest.raises(SpdyError, match="version 2"):
        FrameReader().feed(struct.pack(">II", 1 << 31 | 2 << 16 | 6, 4) + b"\0\0\0\1")


def test_a_stream_from_opening_to_both_ends():
    connection, client = Connection(), Client()
    number, wire = client.open(streamtype="data")
    assert connection.feed(wire) == [Opened(1, {"streamtype": "data"}, fin=False)]
    connection.reply(number)
    connection.send(number, b"out")
    assert client.read(connection.take()) == [("reply", 1), ("data", 1, b"out", False)]
    assert connection.feed(frames.data_frame(1, b"in", fin=True)) == [Received(1, b"in", fin=True)]
    assert connection.writable(1)
    connection.send(1, b"last", fin=True)
    assert client.read(connection.take()) == [("data", 1, b"last", True)]
    assert not connection.known(1)


def test_pings_of_the_client_are_answered_and_answers_to_ours_swallowed():
    connection, client = Connection(), Client()
    connection.ping()
    assert client.read(connection.take()) == [("ping", 2)]
    assert connection.feed(frames.ping(2) + frames.ping(7)) == []
    assert client.read(connection.take()) == [("ping", 7)]


def test_streams_beyond_the_limit_are_refused_and_their_headers_still_read():
    connection, client = Connection(), Client()
    for _ in range(MAX_STREAMS):
        assert len(connection.feed(client.open(a="b")[1])) == 1
    number, wire = client.open(x="y")
    assert connection.feed(wire) == []
    assert client.read(connection.take()) == [(frames.RST_STREAM, number, frames.REFUSED_STREAM)]
    connection.reset(1, frames.CANCEL)
    connection.take()
    assert connection.feed(client.open(x="y")[1])[0].headers == {"x": "y"}


@pytest.mark.parametrize("identifier", [2, 1])
def test_streams_are_opened_in_order_and_odd(identifier):
    connection, client = Connection(), Client()
    connection.feed(client.open()[1])
    with pytest.raises(SpdyError, match="may not open"):
        connection.feed(frames.syn_stream(identifier, client.encoder.encode({})))
    assert client.read(connection.take()) == [(frames.GOAWAY, 1, 1)]


def test_data_for_a_stream_that_never_was_is_reset_and_for_one_that_is_over_dropped():
    connection, client = Connection(), Client()
    assert connection.feed(frames.data_frame(9, b"x")) == []
    assert client.read(connection.take()) == [(frames.RST_STREAM, 9, frames.INVALID_STREAM)]
    connection.feed(client.open()[1])
    connection.reset(1, frames.CANCEL)
    connection.take()
    assert connection.feed(frames.data_frame(1, b"late")) == []
    assert connection.take() == b""


def test_data_after_the_end_resets_the_stream():
    connection, client = Connection(), Client()
    connection.feed(client.open(fin=True)[1])
    assert connection.feed(frames.data_frame(1, b"more")) == [Aborted(1)]
    assert client.read(connection.take()) == [(frames.RST_STREAM, 1, frames.STREAM_ALREADY_CLOSED)]


def test_resets_and_going_away_are_told():
    connection, client = Connection(), Client()
    connection.feed(client.open()[1])
    assert connection.feed(frames.rst_stream(1, 5) + frames.rst_stream(1, 5)) == [Aborted(1)]
    assert connection.feed(frames.go_away(1, 0)) == [WentAway()]


def test_windows_do_not_bind_a_peer_that_knows_none():
    connection, client = Connection(), Client()
    connection.feed(client.open()[1])
    connection.send(1, b"x" * 200_000)
    assert connection.room(1) > 1 << 20


def test_windows_bind_once_the_peer_has_shown_them():
    connection, client = Connection(), Client()
    events = connection.feed(client.open()[1] + frames.settings({7: 10}))
    assert events[-1] == WindowsGrew()
    assert connection.room(1) == 10
    connection.send(1, b"x" * 10)
    assert connection.room(1) == 0
    connection.feed(frames.window_update(1, 100_000))
    assert connection.room(1) == 64 * 1024 - 10
    connection.feed(frames.window_update(0, 1 << 20))
    assert connection.room(1) == 100_000


def test_a_window_that_grows_too_far_resets_its_stream():
    connection, client = Connection(), Client()
    connection.feed(client.open()[1])
    assert connection.feed(frames.window_update(1, (1 << 31) - 1)) == [Aborted(1)]
    assert client.read(connection.take()) == [(frames.RST_STREAM, 1, frames.FLOW_CONTROL_ERROR)]


def test_what_is_consumed_is_granted_again():
    connection, client = Connection(), Client()
    connection.feed(client.open()[1])
    connection.consumed(1, 32 * 1024 - 1)
    assert connection.take() == b""
    connection.consumed(1, 1)
    assert client.read(connection.take()) == [
        (frames.WINDOW_UPDATE, 0, 32 * 1024),
        (frames.WINDOW_UPDATE, 1, 32 * 1024),
    ]


def test_broken_compression_ends_the_connection():
    connection = Connection()
    with pytest.raises(SpdyError):
        connection.feed(frames.syn_stream(1, b"garbage"))


# --- streams as objects ---


class Pipe:
    """A ``ByteStream`` whose other end is the test."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self.broken = False

    async def read(self) -> bytes:
        return await self.incoming.get()

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise PeerGone("gone")
        self.outgoing.put_nowait(data)


async def test_accepting_reading_writing_finishing():
    pipe, client = Pipe(), Client()
    async with serving(pipe) as server:
        pipe.incoming.put_nowait(client.open(streamtype="data")[1])
        stream = await server.accept()
        assert client.read(await pipe.outgoing.get()) == [("reply", 1)]
        pipe.incoming.put_nowait(frames.data_frame(1, b"abc") + frames.data_frame(1, b"", fin=True))
        assert [await stream.read(), await stream.read()] == [b"abc", b""]
        await stream.write(b"y" * 40_000)
        await stream.finish()
        sent = []
        while not sent or not sent[-1][3]:
            sent += client.read(await pipe.outgoing.get())
        assert b"".join(one[2] for one in sent) == b"y" * 40_000
        assert not stream.writable
        with pytest.raises(PeerGone):
            await stream.write(b"more")


async def test_a_peer_that_goes_ends_every_stream():
    pipe, client = Pipe(), Client()
    async with serving(pipe) as server:
        pipe.incoming.put_nowait(client.open()[1])
        stream = await server.accept()
        pipe.incoming.put_nowait(b"")
        assert await stream.read() == b""
        await stream.abandoned()
        assert await server.accept() is None


async def test_a_full_stream_stops_the_reading():
    pipe, client = Pipe(), Client()
    block = b"z" * 60_000
    async with serving(pipe) as server:
        pipe.incoming.put_nowait(client.open()[1])
        stream = await server.accept()
        for _ in range(20):
            pipe.incoming.put_nowait(frames.data_frame(1, block))
        for _ in range(50):
            await asyncio.sleep(0)
        assert 10 < pipe.incoming.qsize() < 16
        assert [await stream.read() for _ in range(20)] == [block] * 20


async def test_a_reset_frees_the_reader_of_a_full_stream():
    pipe, client = Pipe(), Client()
    async with serving(pipe) as server:
        pipe.incoming.put_nowait(client.open()[1])
        stream = await server.accept()
        for _ in range(10):
            pipe.incoming.put_nowait(frames.data_frame(1, b"z" * 60_000))
        for _ in range(50):
            await asyncio.sleep(0)
        await stream.reset()
        pipe.incoming.put_nowait(client.open(second="yes")[1])
        assert (await server.accept()).headers == {"second": "yes"}


async def test_writers_wait_for_windows():
    pipe, client = Pipe(), Client()
    async with serving(pipe) as server:
        pipe.incoming.put_nowait(frames.settings({7: 4}) + client.open()[1])
        stream = await server.accept()
        client.read(await pipe.outgoing.get())
        async with asyncio.TaskGroup() as group:
            group.create_task(stream.write(b"12345678"))
            assert client.read(await pipe.outgoing.get()) == [("data", 1, b"1234", False)]
            assert pipe.outgoing.empty()
            pipe.incoming.put_nowait(frames.window_update(1, 4))
            assert client.read(await pipe.outgoing.get()) == [("data", 1, b"5678", False)]
