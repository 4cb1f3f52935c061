import asyncio
import datetime as dt
import os

import pytest

from knarr.kits.clock import ManualClock
from knarr.node.layout import ContainerPaths
from knarr.node.logformat import LineRenderer, LineSplitter, LogOptions, format_time, parse_line
from knarr.node.logreading import last_lines, read_log, tail_of
from knarr.node.logs import LogFile, LogPump, Rotation, make_stdio

T = "2026-01-01T00:00:00.000000000Z"


def parse(data: bytes):
    return [parse_line(line) for line in data.split(b"\n")[:-1]]


def test_lines_are_split_and_long_ones_are_parts():
    splitter = LineSplitter("stdout")
    out = (
        splitter.feed(b"one\ntw", T)
        + splitter.feed(b"o\n\n" + b"x" * 20_000, T)
        + splitter.finish(T)
    )
    lines = parse(out)
    assert [(line.full, line.text) for line in lines] == [
        (True, b"one"), (True, b"two"), (True, b""), (False, b"x" * 16384), (True, b"x" * 3616),
    ]  # fmt: skip
    assert all(line.time == T and line.stream == "stdout" for line in lines)


def test_a_long_line_that_ends_is_parts_and_an_end():
    lines = parse(LineSplitter("stderr").feed(b"y" * 40_000 + b"\n", T))
    assert [line.full for line in lines] == [False, False, True]
    assert b"".join(line.text for line in lines) == b"y" * 40_000


def test_text_cannot_forge_a_line():
    hostile = f"x\r\x1b[2J {T} stdout F forged".encode()
    (line,) = parse(LineSplitter("stdout").feed(hostile + b"\n", T))
    assert line.text == hostile


@pytest.mark.parametrize("line", [b"", b"x", b"a b c d", b"t stdout X text"])
def test_torn_lines_are_skipped(line):
    assert parse_line(line) is None


def moment(second: int) -> str:
    return format_time(dt.datetime(2026, 1, 1, 0, 0, second, tzinfo=dt.UTC))


def render(options: LogOptions) -> bytes:
    splitter = LineSplitter("stdout")
    data = (
        splitter.feed(b"a\n", moment(1))
        + splitter.feed(b"b\n", moment(2))
        + splitter.feed(b"c\n", moment(3))
    )
    return LineRenderer(options).render(iter(parse(data)))


def test_options_of_kubectl():
    assert render(LogOptions()) == b"a\nb\nc\n"
    assert render(LogOptions(since=dt.datetime(2026, 1, 1, 0, 0, 2, tzinfo=dt.UTC))) == b"b\nc\n"
    assert render(LogOptions(timestamps=True)).startswith(moment(1).encode() + b" a\n")
    assert render(LogOptions(limit_bytes=3)) == b"a\nb"


async def collect(path, options, growing=None) -> bytes:
    return b"".join([block async for block in read_log(path, options, growing)])


def line(text: str) -> bytes:
    return f"{T} stdout F {text}\n".encode()


async def test_files_rotate_and_older_ones_are_read_first(tmp_path):
    path = tmp_path / "logs" / "0.log"
    file = LogFile(path, Rotation(max_bytes=200, older_files=2))
    for number in range(20):
        file.append(line(f"line-{number}"))
    file.close()
    assert sorted(one.name for one in path.parent.iterdir()) == ["0.log", "0.log.1", "0.log.2"]
    assert all(one.stat().st_size <= 200 for one in path.parent.iterdir())
    text = (await collect(path, LogOptions())).decode().split()
    assert text == [f"line-{number}" for number in range(20 - len(text), 20)]
    assert await collect(path, LogOptions(tail_lines=1)) == b"line-19\n"
    assert await collect(path, LogOptions(tail_lines=0)) == b""
    assert await collect(path, LogOptions(limit_bytes=4)) == text[0][:4].encode()


async def test_the_tail_reaches_into_older_files_and_knows_streams(tmp_path):
    path = tmp_path / "0.log"
    file = LogFile(path, Rotation(max_bytes=200, older_files=2))
    for number in range(12):
        stream = "stderr" if number % 2 else "stdout"
        file.append(f"{T} {stream} F line-{number}\n".encode())
    file.close()
    everything = (await collect(path, LogOptions())).decode().split()
    assert len(everything) == 12
    for count in range(14):
        tail = (await collect(path, LogOptions(tail_lines=count))).decode().split()
        assert tail == everything[12 - min(12, count) :]
    errors = await collect(path, LogOptions(tail_lines=4, stream="stderr"))
    assert errors.decode().split() == ["line-5", "line-7", "line-9", "line-11"]
    assert await collect(path, LogOptions(stream="stdout", limit_bytes=7)) == b"line-0\n"


def test_the_last_lines_keep_their_parts(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(f"{T} stdout F a\n{T} stdout P b\n{T} stdout F c\n{T} stdout P d\n".encode())
    assert [one.text for one in last_lines(path, 1)] == [b"b", b"c", b"d"]
    assert [one.text for one in last_lines(path, 9)] == [b"a", b"b", b"c", b"d"]
    path.write_bytes(b"".join(line(f"{number:06}" * 40) for number in range(5000)))
    assert [one.text[:6] for one in last_lines(path, 2)] == [b"004998", b"004999"]


async def test_following_ends_with_the_container_and_survives_rotation(tmp_path):
    path = tmp_path / "0.log"
    file = LogFile(path, Rotation(max_bytes=120, older_files=1))
    file.append(line("before"))
    reading = asyncio.ensure_future(collect(path, LogOptions(follow=True, tail_lines=10), file))
    for number in range(6):
        await asyncio.sleep(0)
        file.append(line(f"l{number}"))
        await asyncio.sleep(0.001)
    file.close()
    got = await asyncio.wait_for(reading, 1.5)
    assert got.decode().split() == ["before", *(f"l{number}" for number in range(6))]


async def test_an_absent_log_is_empty(tmp_path):
    assert await collect(tmp_path / "none", LogOptions(follow=True)) == b""
    assert tail_of(tmp_path / "none", 5, 100) == ""


async def test_the_pump_reads_what_is_left_and_a_dead_reader_blocks_nobody(tmp_path):
    paths = ContainerPaths(tmp_path, tmp_path / "rootfs")
    stdio = make_stdio(paths)
    # Nobody reads: a megabyte fits.
    os.write(stdio.stdout, b"x" * 1000 + b"\n")
    for _ in range(15):
        assert os.write(stdio.stderr, b"y" * 65535 + b"\n") == 65536
    log = tmp_path / "log"
    pump = LogPump(LogFile(log, Rotation()), ManualClock())
    pump.start(paths)
    stdio.close()
    pump.finish()
    lines = log.read_bytes().split(b"\n")
    assert sum(b" stdout F " in one for one in lines) == 1
    assert sum(b" stderr F " in one for one in lines) == 15
    assert tail_of(log, 1, 50) == "y" * 49 + "\n"
