"""Gateways over a real socket."""

import asyncio
import contextlib

import msgspec
import pytest

from knarr.dataplane import messages, session
from knarr.dataplane.session import DataplaneServer, FrameReader, ProtocolViolation
from knarr.dataplane.table import RoutingTable
from knarr.kits.framing import encode_frame, read_frame


def revision(name):
    return messages.Revision(key=f"default/{name}", uid=name)


class Sink:
    def __init__(self):
        self.seen = []
        self.arrived = asyncio.Event()

    def _note(self, message):
        self.seen.append(message)
        self.arrived.set()

    demanded = reported = faulted = _note


class Gateway:
    """The other end, written by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, message):
        self.writer.write(encode_frame(msgspec.json.encode(message)))

    async def receive(self):
        async with asyncio.timeout(2):
            body = await read_frame(self.reader)
        return None if body is None else msgspec.json.decode(body, type=messages.ToDataplane)


@contextlib.asynccontextmanager
async def connect(path, epoch="", version=0, *, hello=True):
    reader, writer = await asyncio.open_unix_connection(str(path))
    gateway = Gateway(reader, writer)
    if hello:
        gateway.send(messages.Hello(protocol=1, gateway="g", epoch=epoch, version=version))
    try:
        yield gateway
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def world(tmp_path):
    table, sink = RoutingTable("e1"), Sink()
    path = tmp_path / "dataplane.sock"
    async with DataplaneServer(path, table, (sink,), (sink,)) as server:
        yield server, path, sink


async def until(condition):
    async with asyncio.timeout(2):
        while not condition():
            await asyncio.sleep(0)


async def test_nothing_is_told_before_the_server_is_ready(world):
    server, path, _ = world
    async with connect(path) as gateway:
        server.table.set_revision(revision("a"))
        await until(lambda: server.connections)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await read_frame(gateway.reader)
    async with connect(path) as gateway:
        await until(lambda: server.connections)
        server.ready()
        snapshot = await gateway.receive()
        assert (snapshot.epoch, snapshot.version) == ("e1", 1)


async def test_snapshot_then_deltas_then_acknowledgement(world):
    server, path, _ = world
    server.ready()
    async with connect(path) as gateway:
        assert await gateway.receive() == messages.Snapshot(epoch="e1", version=0)
        version = server.table.set_revision(revision("a"))
        assert await gateway.receive() == messages.Delta(version=1, revisions=(revision("a"),))
        gateway.send(messages.Ack(epoch="other", version=9))
        gateway.send(messages.Ack(epoch="e1", version=version))
        await server.table.acknowledged(version, 2)
        assert server.table.gateways == 1
    await until(lambda: server.table.gateways == 0)


async def test_who_reconnects_gets_what_was_missed(world):
    server, path, _ = world
    server.ready()
    server.table.set_revision(revision("a"))
    server.table.set_revision(revision("b"))
    async with connect(path, "e1", 1) as gateway:
        assert (await gateway.receive()).version == 2
    async with connect(path, "e1", 2) as gateway:
        await until(lambda: server.table.acknowledged_version == 2)
        server.table.set_revision(revision("c"))
        assert (await gateway.receive()).version == 3
    async with connect(path, "e0", 2) as gateway:
        assert isinstance(await gateway.receive(), messages.Snapshot)


async def test_what_gateways_see_reaches_the_sinks(world):
    server, path, sink = world
    server.ready()
    sent = [
        messages.Stats(
            interval_ms=1000,
            revisions=(messages.RevisionStats(revision="default/a", concurrency=1.0, requests=1),),
        ),
        messages.Demand(revision="default/a", queued=1),
        messages.ReplicaFault(revision="default/a", replica="r", reason="refused"),
    ]
    async with connect(path) as gateway:
        await gateway.receive()
        for message in sent:
            gateway.send(message)
        await until(lambda: len(sink.seen) == 3)
    assert sink.seen == sent


async def test_pick_idle_is_answered_and_resumed(world):
    server, path, _ = world
    server.ready()
    async with connect(path) as gateway:
        await gateway.receive()
        await until(lambda: server.table.gateways)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(server.pick_idle("default/a", 2))
            asked = await gateway.receive()
            assert (asked.revision, asked.count) == ("default/a", 2)
            gateway.send(
                messages.PickedIdle(id=asked.id, revision="default/a", replicas=("x", "y"))
            )
        assert task.result() == ("x", "y")
        server.resume("default/a", ("x",))
        assert await gateway.receive() == messages.Resume(revision="default/a", replicas=("x",))


async def test_two_gateways_vote_and_losers_are_put_back(world):
    server, path, _ = world
    server.ready()
    async with connect(path) as first, connect(path) as second:
        for gateway in (first, second):
            await gateway.receive()
        await until(lambda: server.table.gateways == 2)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(server.pick_idle("default/a", 1))
            for gateway, replicas in ((first, ("x", "y")), (second, ("y",))):
                asked = await gateway.receive()
                gateway.send(
                    messages.PickedIdle(id=asked.id, revision="default/a", replicas=replicas)
                )
        assert task.result() == ("y",)
        for gateway in (first, second):
            assert (await gateway.receive()).replicas == ("x",)


async def test_a_late_answer_is_undone_and_a_lost_gateway_has_no_say(world):
    server, path, _ = world
    server.ready()
    assert await server.pick_idle("default/a", 1) == ()
    async with connect(path) as gateway:
        await gateway.receive()
        await until(lambda: server.table.gateways)
        assert await server.pick_idle("default/a", 1, timeout_s=0.01) == ()
        asked = await gateway.receive()
        gateway.send(messages.PickedIdle(id=asked.id, revision="default/a", replicas=("x",)))
        assert await gateway.receive() == messages.Resume(revision="default/a", replicas=("x",))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(server.pick_idle("default/a", 1, timeout_s=60))
            await gateway.receive()
            gateway.writer.close()
        assert task.result() == ()


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([b'{"type":"nonsense"}'], id="unknown type"),
        pytest.param([b"not json"], id="no json"),
        pytest.param([b'{"type":"ack","epoch":"e1","version":1}'], id="no hello"),
        pytest.param([b'{"type":"hello","protocol":2,"gateway":"g"}'], id="other protocol"),
        pytest.param([b'{"type":"hello","protocol":1,"gateway":"g"}'] * 2, id="two hellos"),
    ],
)
async def test_who_breaks_the_protocol_is_cut_off(world, frames):
    server, path, _ = world
    async with connect(path, hello=False) as gateway:
        for frame in frames:
            gateway.writer.write(encode_frame(frame))
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                assert await gateway.reader.read() == b""
    await until(lambda: not server.connections)


async def test_a_slow_gateway_is_cut_off(world, monkeypatch):
    server, path, _ = world
    monkeypatch.setattr(session, "MAX_UNSENT_BYTES", 1000)
    server.ready()
    async with connect(path):
        await until(lambda: server.table.gateways)
        for number in range(5000):
            server.table.set_revision(revision(f"r{number:05}" + "x" * 200))
            if number % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: server.table.gateways == 0)


def test_frames_are_cut_at_any_byte():
    data = encode_frame(b"one") + encode_frame(b"") + encode_frame(b"three")
    reader, found = FrameReader(), []
    for index in range(len(data)):
        found += reader.feed(data[index : index + 1])
    assert found == [b"one", b"", b"three"]


def test_a_frame_that_is_too_long_is_refused():
    with pytest.raises(ProtocolViolation):
        FrameReader().feed(b"\xff\xff\xff\xff")
