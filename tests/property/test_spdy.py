"""SPDY: what goes in comes out however the bytes are cut; nothing else than SpdyError leaves the parser."""

import contextlib
import itertools
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.streams.spdy import frames
from knarr.apiserver.streams.spdy.connection import Connection, Opened, Received
from knarr.apiserver.streams.spdy.frames import FrameReader, SpdyError
from knarr.apiserver.streams.spdy.headers import (
    HeaderDecoder,
    HeaderEncoder,
    HeaderError,
    parse_pairs,
)

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Lu", "Lt", "Cs")), min_size=1, max_size=20
).filter(lambda name: name.lower() == name)
HEADERS = st.dictionaries(NAMES, st.text(max_size=60), max_size=8)


def cut(data: bytes, points: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(HEADERS, max_size=6))
def test_headers_round_trip(blocks):
    encoder, decoder = HeaderEncoder(), HeaderDecoder()
    for headers in blocks:
        assert decoder.decode(encoder.encode(headers)) == headers


@given(
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=300), st.booleans()), max_size=20),
    st.lists(st.integers(0, 10_000), max_size=20),
)
def test_streams_carry_their_bytes_however_the_wire_is_cut(messages, points):
    encoder = HeaderEncoder()
    wire = b"".join(
        frames.syn_stream(2 * index + 1, encoder.encode({"n": str(index)})) for index in range(4)
    )
    expected = {2 * index + 1: b"" for index in range(4)}
    ended = set()
    for index, data, fin in messages:
        stream = 2 * index + 1
        if stream in ended:
            continue
        wire += frames.data_frame(stream, data, fin=fin) + frames.ping(2 * index + 1)
        expected[stream] += data
        if fin:
            ended.add(stream)
    connection = Connection()
    got = dict.fromkeys(expected, b"")
    finished = set()
    opened = 0
    for piece in cut(wire, points):
        for event in connection.feed(piece):
            if isinstance(event, Opened):
                opened += 1
            elif isinstance(event, Received):
                got[event.stream] += event.data
                if event.fin:
                    finished.add(event.stream)
    assert (opened, got, finished) == (4, expected, ended)


@settings(max_examples=300)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_garbage_never_escapes(data, points):
    connection = Connection()
    try:
        for piece in cut(data, points):
            connection.feed(piece)
    except SpdyError:
        pass
    connection.take()


KINDS = st.integers(0, 12)


@settings(max_examples=300)
@given(st.lists(st.tuples(KINDS, st.integers(0, 255), st.binary(max_size=40)), max_size=12))
def test_well_framed_garbage_never_escapes(parts):
    connection = Connection()
    wire = b"".join(
        frames.control_frame(kind, body, flags)
        if kind
        else frames.data_frame(int.from_bytes(body[:3], "big"), body, fin=bool(flags & 1))
        for kind, flags, body in parts
    )
    with contextlib.suppress(SpdyError):
        connection.feed(wire)
    connection.take()


@given(st.binary(max_size=200))
def test_pairs_refuse_or_read(data):
    with contextlib.suppress(HeaderError):
        parse_pairs(data)


@given(
    st.lists(st.tuples(st.integers(1, 1 << 20), st.integers(0, 70_000)), max_size=30),
    st.integers(0, 1 << 16),
)
def test_no_more_is_sent_than_windows_allow(steps, initial):
    connection = Connection()
    connection.feed(
        frames.syn_stream(1, HeaderEncoder().encode({})) + frames.settings({7: initial})
    )
    connection.reply(1)
    granted, whole, sent = initial, 64 * 1024, 0
    for growth, wanted in steps:
        connection.feed(frames.window_update(1, growth) + frames.window_update(0, growth))
        granted, whole = granted + growth, whole + growth
        count = min(wanted, connection.room(1))
        connection.send(1, b"x" * count)
        sent += count
        assert sent <= min(granted, whole)
    total = sum(
        len(frame.data) for frame in FrameReader().feed(connection.take()) if hasattr(frame, "data")
    )
    assert total == sent


def test_struct_of_settings_is_checked():
    for body in (b"", struct.pack(">I", 2) + b"\0" * 8):
        connection = Connection()
        try:
            connection.feed(frames.control_frame(frames.SETTINGS, body))
        except SpdyError:
            continue
        raise AssertionError(body)
