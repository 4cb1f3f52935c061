"""Exec, attach and port-forward as clients speak them, with a server on a Unix socket and a node in memory."""

import asyncio
import base64
import json
import random
import struct

import aiohttp
import pytest
from tests.unit.apiserver_streams.fakes import FakeStreams

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.bootstrap import ensure_builtin_objects
from knarr.apiserver.handler import Handler
from knarr.apiserver.http import HttpServer, UnixListener
from knarr.apiserver.inprocess import InProcessTransport
from knarr.apiserver.streams.forwarding import TUNNEL_PROTOCOL
from knarr.apiserver.streams.spdy import frames
from knarr.apiserver.streams.spdy.frames import DataFrame, FrameReader
from knarr.apiserver.streams.spdy.headers import HeaderEncoder
from knarr.kits import channels
from knarr.kits.clock import ManualClock
from knarr.kube.client import Client
from knarr.meta.errors import BadRequest
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.catalog import KINDS
from knarr.resources.core.container import Container
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.podspec import PodSpec
from knarr.store.store import Store

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
PODS = "/api/v1/namespaces/default/pods"
EXEC = f"{PODS}/p/exec?command=sh&command=-c&stdin=1&stdout=1&stderr=1"
STATUS = b'{"metadata":{},"status":"Success"}'


def pod(name: str, *names: str, node: str = "n") -> Pod:
    containers = tuple(Container(name=one, image="i") for one in names)
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(containers=containers, node_name=node),
    )


class Harness:
    def __init__(self, path, streams, session) -> None:
        self.path, self.streams, self.session = path, streams, session

    async def websocket(self, target: str, *protocols: str):
        return await self.session.ws_connect(f"http://api{target}", protocols=protocols)

    async def refusal(self, target: str, *protocols: str) -> tuple[int, str]:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(b"x" * 16).decode(),
        }
        if protocols:
            headers["Sec-WebSocket-Protocol"] = ", ".join(protocols)
        async with self.session.get(f"http://api{target}", headers=headers) as answer:
            return answer.status, (await answer.json())["message"]

    async def spdy(self, target: str, protocol: str) -> "Spdy":
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(
            f"POST {target} HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            f"X-Stream-Protocol-Version: v9.x\r\nX-Stream-Protocol-Version: {protocol}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert f"X-Stream-Protocol-Version: {protocol}".encode() in head
        assert b"Upgrade: SPDY/3.1" in head
        assert b"chunked" not in head

        async def read() -> bytes:
            return await reader.read(65536)

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        return Spdy(read, write, writer.close)


class Spdy:
    """A client of SPDY."""

    def __init__(self, read, write, close) -> None:
        self._read, self._write, self.close = read, write, close
        self._frames, self._encoder = FrameReader(), HeaderEncoder()
        self._next = 1
        self.got: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.replied: set[int] = set()
        self.reset: set[int] = set()
        self.over = False

    async def open(self, **headers: str) -> int:
        number, self._next = self._next, self._next + 2
        await self._write(frames.syn_stream(number, self._encoder.encode(headers)))
        return number

    async def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        await self._write(frames.data_frame(stream, data, fin=fin))

    async def abort(self, stream: int) -> None:
        await self._write(frames.rst_stream(stream, frames.CANCEL))

    async def until(self, condition) -> None:
        while not condition():
            data = await self._read()
            assert data or condition(), "the server hung up"
            if not data:
                return
            for frame in self._frames.feed(data):
                self._take(frame)

    def _take(self, frame) -> None:
        if isinstance(frame, DataFrame):
            self.got[frame.stream] = self.got.get(frame.stream, b"") + frame.data
            if frame.fin:
                self.ended.add(frame.stream)
        elif frame.kind == frames.SYN_REPLY:
            self.replied.add(frames.stream_of(frame.body))
        elif frame.kind == frames.RST_STREAM:
            self.reset.add(frames.stream_of(frame.body))
        elif frame.kind == frames.GOAWAY:
            self.over = True


@pytest.fixture
async def api(tmp_path):
    clock, streams = ManualClock(), FakeStreams()
    async with Store(None) as store:
        handler = Handler(store, KINDS, clock, random.Random(1), streams=streams)
        transport = InProcessTransport(handler, ADMIN)
        await ensure_builtin_objects(transport)
        client = Client(transport)
        for one in (pod("p", "main"), pod("two", "a", "b"), pod("new", "main", node="")):
            await client.create(POD, one)
        path = tmp_path / "api.sock"
        async with (
            HttpServer(handler, unix=[UnixListener(path)]),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        ):
            yield Harness(path, streams, session)


# --- commands over WebSocket ---


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_a_command_over_a_websocket(api, protocol):
    socket = await api.websocket(EXEC, "v1.unknown", protocol)
    assert socket.protocol == protocol
    if protocol == V4:
        assert await socket.receive_bytes() == b"\1"
    node = await api.streams.nodes.get()
    ((kind, key, uid, query),) = api.streams.opened
    assert (kind, key) == ("exec", Key("default", "p"))
    assert uid
    assert query == [
        ("container", "main"), ("stderr", "true"), ("stdin", "true"), ("stdout", "true"),
        ("command", "sh"), ("command", "-c"),
    ]  # fmt: skip
    await socket.send_bytes(b"\0" + b"x" * 100_000)
    assert await node.stdin(100_000) == b"x" * 100_000
    await socket.send_bytes(b'\4{"Width":80,"Height":24}')
    assert await node.sent.get() == (channels.RESIZE, b'{"Width":80,"Height":24}')
    await socket.send_bytes(b"\xff\0")
    await socket.send_bytes(b"\0later")
    assert await node.sent.get() == (
        (channels.CLOSE, b"\0") if protocol == V5 else (channels.STDIN, b"later")
    )
    node.say(channels.STDOUT, b"out")
    node.say(channels.STDERR, b"err")
    node.say(channels.ERROR, STATUS)
    assert [await socket.receive_bytes() for _ in range(3)] == [b"\1out", b"\2err", b"\3" + STATUS]
    assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert socket.close_code == 1000
    await node.closed.wait()


async def test_the_base64_variant(api):
    socket = await api.websocket(EXEC, "v4.base64.channel.k8s.io")
    assert await socket.receive_str() == "1"
    node = await api.streams.nodes.get()
    await socket.send_str("0" + base64.b64encode(b"\0\xffin").decode())
    await socket.send_str("0%%%")
    await socket.send_str("")
    assert await node.sent.get() == (0, b"\0\xffin")
    node.say(channels.STDOUT, b"\xfe")
    node.say(channels.ERROR, STATUS)
    assert await socket.receive_str() == "1" + base64.b64encode(b"\xfe").decode()
    assert await socket.receive_str() == "3" + base64.b64encode(STATUS).decode()
    await socket.close()


@pytest.mark.parametrize("protocols", [(), ("channel.k8s.io",)])
async def test_the_oldest_protocols_end_with_a_text(api, protocols):
    socket = await api.websocket(EXEC, *protocols)
    assert await socket.receive_bytes() == b"\1"
    node = await api.streams.nodes.get()
    node.say(channels.STDOUT, b"out")
    node.say(channels.ERROR, b'{"status":"Failure","message":"exit status 3"}')
    assert await socket.receive_bytes() == b"\1out"
    assert await socket.receive_bytes() == b"\3exit status 3"
    await socket.close()


async def test_a_client_that_leaves_ends_the_session_at_the_node(api):
    socket = await api.websocket(EXEC, V5)
    node = await api.streams.nodes.get()
    await socket.close()
    await asyncio.wait_for(node.closed.wait(), 1)


async def test_a_node_that_is_lost_is_told(api):
    socket = await api.websocket(EXEC, V5)
    node = await api.streams.nodes.get()
    node.answers.put_nowait(None)
    message = await socket.receive_bytes()
    assert message[0] == 3
    assert json.loads(message[1:])["message"] == "the connection to the node agent broke off"
    await socket.close()


async def test_a_terminal_has_no_standard_error(api):
    socket = await api.websocket(f"{PODS}/p/attach?stdin=1&stdout=1&stderr=1&tty=1", V5)
    assert api.streams.opened[0][0] == "attach"
    assert api.streams.opened[0][3] == [
        ("container", "main"), ("stdin", "true"), ("stdout", "true"), ("tty", "true"),
    ]  # fmt: skip
    await socket.close()


@pytest.mark.parametrize(
    ("target", "protocols", "status", "message"),
    [
        (EXEC.replace("/p/", "/none/"), (V5,), 404, 'pods "none" not found'),
        (EXEC + "&container=x", (V5,), 400, "container x is not valid for pod p"),
        (EXEC.replace("/p/", "/new/"), (V5,), 400, "pod new does not have a host assigned"),
        (
            EXEC.replace("/p/", "/two/"), (V5,), 400,
            "a container name must be specified for pod two, choose one of: [a b]",
        ),
        (f"{PODS}/p/exec?stdout=1", (V5,), 400, "you must specify at least one command for the container"),
        (
            f"{PODS}/p/exec?command=a", (V5,), 400,
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        (EXEC, ("v9",), 403, "unable to upgrade: unable to negotiate protocol"),
        (f"{PODS}/p/portforward", (V4,), 400, "ports: from 1 to 64 must be named"),
        (f"{PODS}/p/portforward?ports=0", (V4,), 400, "ports '0': each must be"),
        (f"{PODS}/p/portforward?ports=1,x", (V4,), 400, "ports '1,x': each must be"),
        ("/api/v1/namespaces/default/configmaps/p/exec?command=a&stdout=1", (V5,), 404, "the server could"),
    ],
)  # fmt: skip
async def test_refusals_come_before_the_upgrade(api, target, protocols, status, message):
    got, text = await api.refusal(target, *protocols)
    assert (got, text[: len(message)]) == (status, message)
    assert not api.streams.opened


async def test_the_nodes_refusal_is_the_answer(api):
    api.streams.refusal = BadRequest('container not found ("main")')
    assert await api.refusal(EXEC, V5) == (400, 'container not found ("main")')


async def test_without_an_upgrade_there_is_no_session(api):
    async with api.session.post(f"http://api{EXEC}") as answer:
        assert answer.status == 400
        assert (await answer.json())["message"] == "Upgrade request required"


# --- commands over SPDY ---


async def test_a_command_over_spdy(api):
    client = await api.spdy(EXEC, V4)
    error = await client.open(streamtype="error")
    stdin = await client.open(streamtype="stdin")
    stranger = await client.open(streamtype="resize")
    stdout = await client.open(streamtype="stdout")
    stderr = await client.open(streamtype="stderr")
    await client.until(lambda: client.replied >= {error, stdin, stdout, stderr})
    node = await api.streams.nodes.get()
    await client.send(stdin, b"in" * 50_000, fin=True)
    assert await node.stdin(100_000) == b"in" * 50_000
    assert await node.sent.get() == (channels.CLOSE, b"\0")
    node.say(channels.STDOUT, b"o" * 70_000)
    node.say(channels.STDERR, b"err")
    node.say(channels.ERROR, STATUS)
    await client.until(lambda: client.over)
    assert client.got == {stdout: b"o" * 70_000, stderr: b"err", error: STATUS}
    assert client.ended == {stdout, stderr, error}
    assert client.reset == {stranger}
    await node.closed.wait()
    client.close()


async def test_sizes_over_spdy_arrive_one_by_one(api):
    client = await api.spdy(f"{PODS}/p/exec?command=sh&stdout=1&tty=1", V4)
    for name in ("error", "stdout"):
        await client.open(streamtype=name)
    resize = await client.open(streamtype="resize")
    node = await api.streams.nodes.get()
    await client.send(resize, b'{"Width":1,"Height":2}\n{"Wid')
    await client.send(resize, b'th":3,"Height":4}')
    assert await node.sent.get() == (channels.RESIZE, b'{"Width":1,"Height":2}')
    assert await node.sent.get() == (channels.RESIZE, b'{"Width":3,"Height":4}')
    client.close()
    await asyncio.wait_for(node.closed.wait(), 1)


async def test_garbage_after_the_upgrade_ends_the_session(api):
    client = await api.spdy(EXEC, V4)
    node = await api.streams.nodes.get()
    await client._write(b"GET / HTTP/1.1\r\n\r\n" * 10)
    await asyncio.wait_for(node.closed.wait(), 1)
    client.close()


# --- ports ---


async def forwarding(api, *, tunnelled: bool) -> Spdy:
    if not tunnelled:
        return await api.spdy(f"{PODS}/p/portforward", "portforward.k8s.io")
    socket = await api.websocket(f"{PODS}/p/portforward", TUNNEL_PROTOCOL)

    async def read() -> bytes:
        message = await socket.receive()
        return message.data if message.type is aiohttp.WSMsgType.BINARY else b""

    return Spdy(read, socket.send_bytes, lambda: socket.close)


async def pair(client: Spdy, number: int, port: str = "80") -> tuple[int, int]:
    shared = {"port": port, "requestid": str(number)}
    error = await client.open(streamtype="error", **shared)
    await client.send(error, b"", fin=True)
    return error, await client.open(streamtype="data", **shared)


@pytest.mark.parametrize("tunnelled", [False, True])
async def test_connections_over_spdy(api, tunnelled):
    client = await forwarding(api, tunnelled=tunnelled)
    first, second = await pair(client, 0), await pair(client, 1, "81")
    nodes = [await api.streams.nodes.get() for _ in range(2)]
    assert [one[3] for one in api.streams.opened] == [[("port", "80")], [("port", "81")]]
    for number, (_, data) in enumerate((first, second)):
        await client.send(data, b"ask%d" % number, fin=True)
        assert await nodes[number].stdin(4) == b"ask%d" % number
        assert await nodes[number].sent.get() == (channels.CLOSE, b"\0")
        nodes[number].say(channels.STDOUT, b"answer%d" % number)
        nodes[number].say(channels.CLOSE, b"\1")
        nodes[number].answers.put_nowait(None)
    await client.until(lambda: client.ended == {*first, *second})
    assert client.got == {
        first[0]: b"", first[1]: b"answer0", second[0]: b"", second[1]: b"answer1",
    }  # fmt: skip
    for node in nodes:
        await node.closed.wait()
    client.close()


async def test_a_closed_port_is_an_error_of_its_connection_only(api):
    client = await forwarding(api, tunnelled=False)
    api.streams.refusal = BadRequest("connection refused")
    error, data = await pair(client, 0)
    await client.until(lambda: error in client.ended and data in client.reset)
    assert client.got == {error: b"connection refused"}
    api.streams.refusal = None
    _, data = await pair(client, 1)
    (await api.streams.nodes.get()).say(channels.STDOUT, b"fine")
    await client.until(lambda: client.got.get(data) == b"fine")
    client.close()


async def test_a_port_that_is_none_is_refused(api):
    client = await forwarding(api, tunnelled=False)
    error, _ = await pair(client, 0, "99999")
    await client.until(lambda: error in client.ended)
    assert client.got[error].startswith(b"unable to forward to port '99999'")
    client.close()


async def test_a_connection_that_the_client_resets_ends_at_the_node(api):
    client = await forwarding(api, tunnelled=False)
    error, data = await pair(client, 0)
    node = await api.streams.nodes.get()
    await client.abort(data)
    await asyncio.wait_for(node.closed.wait(), 1)
    await client.until(lambda: error in client.ended)
    client.close()


async def test_a_client_that_leaves_ends_all_its_connections(api):
    client = await forwarding(api, tunnelled=False)
    await pair(client, 0)
    await pair(client, 1)
    nodes = [await api.streams.nodes.get() for _ in range(2)]
    client.close()
    for node in nodes:
        await asyncio.wait_for(node.closed.wait(), 1)


async def test_old_clients_without_request_ids(api):
    client = await forwarding(api, tunnelled=False)
    await client.open(streamtype="error", port="80")
    data = await client.open(streamtype="data", port="80")
    await client.send(data, b"x")
    assert await (await api.streams.nodes.get()).stdin(1) == b"x"
    client.close()


async def test_ports_over_channels(api):
    socket = await api.websocket(f"{PODS}/p/portforward?ports=80,81&ports=82", V4)
    nodes = [await api.streams.nodes.get() for _ in range(3)]
    starts = [await socket.receive_bytes() for _ in range(6)]
    assert starts == [
        bytes((channel,)) + struct.pack("<H", 80 + channel // 2) for channel in range(6)
    ]
    await socket.send_bytes(b"\4to-82")
    assert await nodes[2].stdin(5) == b"to-82"
    nodes[0].say(channels.STDOUT, b"from-80")
    assert await socket.receive_bytes() == b"\0from-80"
    for node in nodes:
        node.answers.put_nowait(None)
    assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    for node in nodes:
        await node.closed.wait()


async def test_a_refused_port_over_channels(api):
    api.streams.refusal = BadRequest("connection refused")
    socket = await api.websocket(f"{PODS}/p/portforward?ports=80", V4)
    got = [await socket.receive_bytes() for _ in range(3)]
    assert got == [b"\0P\0", b"\1P\0", b"\1connection refused"]
    assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
