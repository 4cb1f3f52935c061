"""Sessions of the node without containers: pipes, attached clients, connections, the keeper."""

import asyncio
import gc
import json
import os
import socket

import aiohttp
import pytest
from aiohttp import web

from knarr.kits import channels
from knarr.kits.clock import ManualClock
from knarr.meta.errors import BadRequest
from knarr.meta.remotestatus import exit_code_of, exit_status
from knarr.node import logs as logs_module
from knarr.node.console import Console, ConsoleSocket, Interaction, make_stdin
from knarr.node.keeping import Keeping
from knarr.node.layout import ContainerPaths
from knarr.node.logs import LogFile, LogPump, Rotation, make_stdio
from knarr.node.runc import RuncError
from knarr.node.sandbox import ContainerRun
from knarr.node.sessions.attaching import OutputListener, run_attached
from knarr.node.sessions.leftovers import leftovers, parent_and_session
from knarr.node.sessions.link import Link, ServerGone, new_connection
from knarr.node.sessions.pipes import PipeReader, PipeWriter
from knarr.node.sessions.ports import Connection, run_connection
from knarr.node.sessions.racing import first_of
from knarr.node.sessions.sizes import parse_size

# --- pipes ---


async def test_a_reader_waits_for_bytes_and_sees_the_end():
    read, write = os.pipe()
    reader = PipeReader(read)
    assert reader.read_now() is None
    async with asyncio.TaskGroup() as group:
        block = group.create_task(reader.read())
        await asyncio.sleep(0)
        os.write(write, b"abc")
    assert block.result() == b"abc"
    os.close(write)
    assert await reader.read() == b""
    reader.close()
    assert reader.read_now() == b""


async def test_a_writer_waits_for_room_and_says_when_nobody_reads():
    read, write = os.pipe()
    reader, writer = PipeReader(read), PipeWriter(write)
    got = bytearray()
    async with asyncio.TaskGroup() as group:
        done = group.create_task(writer.write(b"x" * 300_000))
        while len(got) < 300_000:
            got += await reader.read()
    assert done.result()
    reader.close()
    assert not await writer.write(b"more")
    writer.close()
    assert not await writer.write(b"even more")


def test_sizes_of_terminals():
    assert parse_size(b'{"Width":80,"Height":24}') == (80, 24)
    for bad in (
        b"",
        b"[]",
        b'{"Width":0,"Height":1}',
        b'{"Width":80}',
        b'{"Width":70000,"Height":1}',
        b"{",
    ):
        assert parse_size(bad) is None


def test_exit_codes_survive():
    assert exit_code_of(json.dumps(exit_status(0)).encode()) == (0, "")
    code, message = exit_code_of(json.dumps(exit_status(3)).encode())
    assert (code, message) == (3, "command terminated with non-zero exit code: exit status 3")
    assert exit_code_of(b'{"status":"Failure","message":"no"}') == (None, "no")
    assert exit_code_of(b"garbage") == (None, "garbage")


def test_the_session_of_a_process():
    assert parent_and_session(os.getpid()) == (os.getppid(), os.getsid(0))
    assert parent_and_session(0x7FFFFFF0) is None


def test_commands_that_came_from_outside_are_found_with_their_children():
    table = {
        10: (1, 10), 11: (10, 10), 12: (10, 12),  # the container's own: init, a child, a daemon
        20: (1, 20), 21: (20, 20), 22: (21, 22),  # a command, its child, a daemon of it
        30: (1, 30),
    }  # fmt: skip
    assert leftovers({*table, 99}, 10, table.get) == {20, 21, 30}
    assert leftovers({10, 11, 12}, 10, table.get) == set()


async def test_the_first_end_ends_all_and_a_server_that_is_gone_is_an_end():
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def gone() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(raising())

    async def raising() -> None:
        raise ServerGone("gone")

    await first_of(forever, gone)
    assert cancelled.is_set()


# --- a link between two programs ---


class Server:
    """The server's end of one session, on a socket."""

    def __init__(self, path, body) -> None:
        self._path, self._body = path, body

    async def __aenter__(self):
        async def handle(request: web.Request) -> web.StreamResponse:
            connection = new_connection()
            await connection.prepare(request)
            await self._body(Link(connection))
            await connection.close()
            return connection

        app = web.Application()
        app.router.add_get("/", handle)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._path)))
        self.socket = await self._session.ws_connect("http://node/")
        return self.socket

    async def __aexit__(self, *error: object) -> None:
        await self.socket.close()
        await self._session.close()
        await self._runner.cleanup()


async def test_a_refusal_is_the_first_message(tmp_path):
    async def body(link: Link) -> None:
        await link.refuse(BadRequest("no"))

    async with Server(tmp_path / "s", body) as server:
        message = json.loads(await server.receive_str())
        assert (message["status"], message["code"], message["message"]) == ("Failure", 400, "no")


# --- attach ---


class Container:
    """A container's run whose process is the test."""

    def __init__(self, tmp_path, interaction: Interaction | None = None) -> None:
        paths = ContainerPaths(tmp_path, tmp_path / "rootfs")
        self.stdio = make_stdio(paths)
        file = LogFile(tmp_path / "log", Rotation())
        self.run = ContainerRun("main", "id", 0, paths, LogPump(file, ManualClock()))
        self.input = -1
        if interaction is not None:
            self.input, ours = make_stdin(paths)
            self.run.console = Console(interaction, ours)
        self.run.pump.start(paths)
        self.input_ended = 0

    def end_input(self) -> None:
        self.input_ended += 1
        if self.run.console is not None:
            self.run.console.close()

    def end(self) -> None:
        self.stdio.close()
        self.run.pump.finish()

    def body(self, *wanted: str):
        async def run(link: Link) -> None:
            await link.accept()
            await run_attached(link, self.run, frozenset(wanted), self.end_input)

        return run


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_attached_clients_get_what_comes_and_the_end(tmp_path):
    container = Container(tmp_path)
    os.write(container.stdio.stdout, b"before\n")
    await until(lambda: (tmp_path / "log").exists())
    async with Server(tmp_path / "s", container.body("stdout", "stderr")) as server:
        assert json.loads(await server.receive_str())["status"] == "Success"
        await until(lambda: container.run.pump.listeners)
        os.write(container.stdio.stdout, b"out")
        assert await server.receive_bytes() == b"\1out"
        os.write(container.stdio.stderr, b"err")
        assert await server.receive_bytes() == b"\2err"
        os.write(container.stdio.stdout, b"last")
        container.end()
        assert await server.receive_bytes() == b"\1last"
        assert json.loads((await server.receive_bytes())[1:])["status"] == "Success"
        assert (await server.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_input_of_the_first_client_ends_the_containers(tmp_path):
    container = Container(tmp_path, Interaction(stdin=True, once=True))
    async with Server(tmp_path / "s", container.body("stdin", "stdout")) as server:
        await server.receive_str()
        await server.send_bytes(b"\0typed")
        await server.send_bytes(b"\xff\0")
        await until(lambda: container.input_ended)
    assert os.read(container.input, 100) == b"typed"
    assert os.read(container.input, 100) == b""
    os.close(container.input)
    container.end()


async def test_input_that_is_not_once_outlives_its_client(tmp_path):
    container = Container(tmp_path, Interaction(stdin=True))
    async with Server(tmp_path / "s", container.body("stdin")) as server:
        await server.receive_str()
        await server.send_bytes(b"\0typed")
        await server.send_bytes(b"\xff\0")
    await until(lambda: not container.run.pump.listeners)
    assert container.input_ended == 0
    assert os.read(container.input, 100) == b"typed"
    container.end_input()
    os.close(container.input)
    container.end()


async def test_a_full_listener_stops_the_pump_until_it_has_room(tmp_path):
    container = Container(tmp_path)
    listener = OutputListener(frozenset({"stdout"}))
    container.run.pump.listeners.add(listener)
    os.write(container.stdio.stdout, b"x" * 900_000)
    await until(lambda: listener.full)
    for _ in range(20):
        await asyncio.sleep(0)
    taken = 0
    assert listener._held < 400_000
    while taken < 900_000:
        taken += len((await listener.next())[1])
        container.run.pump.resume()
    container.end()
    assert await listener.next() is None


async def test_a_listener_that_stays_full_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(logs_module, "STALL_S", 0.02)
    container = Container(tmp_path)
    listener = OutputListener(frozenset({"stdout", "stderr"}))
    container.run.pump.listeners.add(listener)
    os.write(container.stdio.stdout, b"x" * 900_000)
    await until(lambda: listener.reason)
    assert not container.run.pump.listeners
    await until(lambda: (tmp_path / "log").stat().st_size > 800_000)
    container.end()


# --- ports ---


async def test_connections_with_half_closes(tmp_path):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"got " + await reader.read())
        await writer.drain()
        writer.close()

    pod = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = pod.sockets[0].getsockname()[1]

    async def body(link: Link) -> None:
        async with Connection(*await asyncio.open_connection("127.0.0.1", port)) as connection:
            await run_connection(link, connection)

    async with pod, Server(tmp_path / "s", body) as server:
        await server.send_bytes(b"\0ask")
        await server.send_bytes(b"\xff\0")
        assert await server.receive_bytes() == b"\1got ask"
        assert await server.receive_bytes() == bytes((channels.CLOSE, channels.STDOUT))
        assert (await server.receive()).type is aiohttp.WSMsgType.CLOSE


# --- the keeper ---


@pytest.fixture
def keeping(tmp_path):
    one = Keeping(tmp_path / "k")
    yield one
    one.end()
    gc.collect()


def test_the_keeper_holds_descriptors(keeping):
    assert keeping.get("none") is None
    read, write = os.pipe()
    keeping.put("a", write)
    keeping.put("b", read)
    os.close(write)
    again = keeping.get("a")
    os.write(again, b"x")
    assert os.read(read, 1) == b"x"
    assert not os.get_inheritable(again)
    assert keeping.get("none") is None
    os.close(again)
    keeping.drop("a")
    keeping.drop("a")
    # Nobody holds the other side any more.
    assert os.read(read, 1) == b""
    os.close(read)


def test_the_keeper_comes_again_after_it_has_ended(keeping):
    for _ in range(2):
        read, write = os.pipe()
        keeping.put("a", write)
        os.close(write)
        keeping.drop("a")
        assert os.read(read, 1) == b""
        os.close(read)


# --- what the runtime hands over ---


def test_a_runtime_that_hands_nothing_over_is_an_error(tmp_path):
    with ConsoleSocket(tmp_path / "c") as console, pytest.raises(RuncError, match="no terminal"):
        console.receive()
    assert not (tmp_path / "c").exists()


def test_a_terminal_is_handed_over(tmp_path):
    with ConsoleSocket(tmp_path / "c") as console:
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.connect(str(console.path))
            socket.send_fds(runtime, [b"/dev/pts/0"], [runtime.fileno()])
        received = console.receive()
    assert not os.get_inheritable(received)
    os.close(received)
