"""The HTTP shell over real sockets on loopback: limits, identities, streams, ends."""

import asyncio
import contextlib
import gzip
import json
import random
import ssl

import aiohttp
import pytest
from tests.unit.apiserver.kit import CONFIG_MAPS, PODS, config_map, pod

import knarr.apiserver.http as shell
import knarr.apiserver.listening as listening
from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.apiserver.http import AddressUnavailable
from knarr.apiserver.pki import ensure_pki
from knarr.kits.clock import SystemClock
from knarr.meta.errors import NotFound
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

JSON = {"Content-Type": "application/json"}


class FakeLogs:
    """Three lines, then silence until it is closed."""

    def __init__(self):
        self.asked = None
        self.closed = asyncio.Event()
        self.ended = asyncio.Event()
        self._chunks = [[b"one\n"], [b"two\n", b"three\n"]]

    async def open(self, namespace, name, options):
        if name == "none":
            raise NotFound("no log")
        self.asked = (namespace, name, options)
        return self

    async def next_chunks(self):
        if self._chunks:
            return self._chunks.pop(0)
        if self.asked[2].follow:
            await self.ended.wait()
        return None

    def end(self):
        self.ended.set()

    async def close(self):
        self.closed.set()


@pytest.fixture
async def served(tmp_path):
    logs = FakeLogs()
    settings = ApiServerSettings(
        tmp_path / "pki", tmp_path / "kubeconfig", port=0, socket=tmp_path / "api.sock"
    )
    async with (
        Store(None) as store,
        ApiServer(settings, store, KINDS, SystemClock(), random.Random(1), logs=logs) as server,
    ):
        server.logs = logs
        server.store = store
        server.settings = settings
        server.pki = ensure_pki(settings.pki_directory, SystemClock())
        yield server


@pytest.fixture
async def client(served):
    context = ssl.create_default_context(cadata=served.pki.ca_pem)
    headers = {"Authorization": f"Bearer {served.pki.token}"} | JSON
    async with aiohttp.ClientSession(
        f"https://127.0.0.1:{served.port}",
        connector=aiohttp.TCPConnector(ssl=context),
        headers=headers,
        auto_decompress=False,
    ) as session:
        yield session


@pytest.fixture
async def local(served):
    connector = aiohttp.UnixConnector(str(served.settings.socket))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


async def test_requests_over_tls(client):
    async with client.post(CONFIG_MAPS, data=json.dumps(config_map("a"))) as answer:
        assert answer.status == 201
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-cache, private"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with client.get(CONFIG_MAPS, params={"labelSelector": "a in (b,c),!d"}) as answer:
        assert (await answer.json())["items"] == []
    async with client.get("/nope") as answer:
        assert (answer.status, await answer.text()) == (404, "404 page not found\n")


async def test_nobody_gets_in_without_a_token(served, client):
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}):
        async with client.get(CONFIG_MAPS, headers=headers) as answer:
            assert answer.status == 401
            assert (await answer.json())["reason"] == "Unauthorized"
        async with client.get("/readyz", headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")


async def test_foreign_hosts_and_origins_are_refused(client):
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        async with client.get("/version", headers=headers) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (403, "Forbidden")


async def test_the_unix_socket_knows_its_peer(local, served):
    async with local.get("/api/v1/namespaces/default") as answer:
        assert answer.status == 200
    async with local.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={}) as answer:
        assert (await answer.json())["status"]["userInfo"]["username"] == "system:admin"
    assert served.settings.socket.stat().st_mode & 0o777 == 0o600


async def test_strangers_on_the_unix_socket_are_refused(local, monkeypatch):
    monkeypatch.setattr(shell, "authenticate_peer", lambda _connection: None)
    async with local.get(CONFIG_MAPS) as answer:
        assert answer.status == 401
    async with local.get("/healthz") as answer:
        assert answer.status == 200


async def test_bodies_are_bounded(client, monkeypatch):
    monkeypatch.setattr(shell, "MAX_BODY_BYTES", 1_000)
    async with client.post(CONFIG_MAPS, data=b"x" * 1_001) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (413, "RequestEntityTooLarge")

    async def chunks():
        for _ in range(20):
            yield b"x" * 100

    async with client.post(CONFIG_MAPS, data=chunks()) as answer:
        assert answer.status == 413


async def test_a_body_that_does_not_arrive_times_out(client, monkeypatch):
    monkeypatch.setattr(shell, "_BODY_TIMEOUT_S", 0.05)
    never = asyncio.Event()

    async def chunks():
        yield b"{"
        await never.wait()

    async with client.post(CONFIG_MAPS, data=chunks()) as answer:
        assert answer.status == 408


async def test_compressed_bodies_are_refused(client):
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(config_map("a")).encode())
    async with client.post(CONFIG_MAPS, data=body, headers=headers) as answer:
        assert answer.status == 415


async def test_large_answers_are_compressed_when_asked(client, served):
    for number in range(30):
        big = config_map(f"n{number}", {"x": "y" * 8_000})
        async with client.post(CONFIG_MAPS, data=json.dumps(big)) as answer:
            assert answer.status == 201
    async with client.get(CONFIG_MAPS, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        small = await answer.read()
        assert len(json.loads(gzip.decompress(small))["items"]) == 30
    async with client.get(CONFIG_MAPS, headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert len(await answer.read()) > 20 * len(small)
    async with client.get(f"{CONFIG_MAPS}/n1", headers={"Accept-Encoding": "gzip"}) as answer:
        assert "Content-Encoding" not in answer.headers


async def test_warnings_are_headers(client):
    sent = config_map("a") | {"bogus": 1, 'quo"te': 2}
    async with client.post(CONFIG_MAPS, data=json.dumps(sent)) as answer:
        assert sorted(answer.headers.getall("Warning")) == [
            '299 - "unknown field \\"bogus\\""', '299 - "unknown field \\"quo\\"te\\""',
        ]  # fmt: skip


async def test_watch_streams_line_by_line(client, served):
    async with client.get(CONFIG_MAPS, params={"watch": "true", "timeoutSeconds": "60"}) as answer:
        assert answer.status == 200
        assert answer.headers["Transfer-Encoding"] == "chunked"
        async with client.post(CONFIG_MAPS, data=json.dumps(config_map("a"))) as created:
            assert created.status == 201
        event = json.loads(await answer.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
    # Leaving closes the connection; the server gives the watcher back.
    async with asyncio.timeout(5):
        while served.store._collection("configmaps").watchers:
            await asyncio.sleep(0.01)


async def test_a_watch_ends_cleanly_at_its_timeout(client):
    async with client.get(CONFIG_MAPS, params={"watch": "1", "timeoutSeconds": "1"}) as answer:
        assert await answer.read() == b""


async def test_upgrades_that_nobody_asked_for_are_ignored(client):
    for wanted in ("websocket", "h2c", "SPDY/3.1"):
        headers = {"Connection": "Upgrade", "Upgrade": wanted}
        async with client.get(PODS, headers=headers) as answer:
            assert answer.status == 200


async def test_logs(client, served):
    async with client.get(f"{PODS}/p/log") as answer:
        assert answer.status == 404
    async with client.post(PODS, data=json.dumps(pod("waiting"))) as answer:
        assert answer.status == 201
    async with client.get(f"{PODS}/waiting/log") as answer:
        assert answer.status == 400
        assert "not assigned to a node" in (await answer.json())["message"]
    two = pod("p", nodeName="n")
    two["spec"]["containers"].append({"name": "d", "image": "i"})
    async with client.post(PODS, data=json.dumps(two)) as answer:
        assert answer.status == 201
    async with client.get(f"{PODS}/p/log") as answer:
        assert "choose one of: [c d]" in (await answer.json())["message"]
    async with client.get(f"{PODS}/p/log", params={"container": "x"}) as answer:
        assert (await answer.json())["message"] == "container x is not valid for pod p"
    both = {"container": "c", "sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"}
    async with client.get(f"{PODS}/p/log", params=both) as answer:
        assert answer.status == 422
    options = {"container": "c", "tailLines": "3", "timestamps": "true", "limitBytes": "9"}
    async with client.get(f"{PODS}/p/log", params=options) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert await answer.text() == "one\ntwo\nthree\n"
    asked = served.logs.asked[2]
    assert (asked.container, asked.tail_lines, asked.timestamps, asked.limit_bytes) == (
        "c", 3, True, 9,
    )  # fmt: skip
    await asyncio.wait_for(served.logs.closed.wait(), 5)


async def test_leaving_a_followed_log_closes_it(client, served):
    async with client.post(PODS, data=json.dumps(pod("p", nodeName="n"))) as answer:
        assert answer.status == 201
    async with client.get(f"{PODS}/p/log", params={"follow": "true"}) as answer:
        assert await answer.content.readline() == b"one\n"
    await asyncio.wait_for(served.logs.closed.wait(), 5)


async def test_leaving_the_server_ends_watches_cleanly(tmp_path):
    settings = ApiServerSettings(tmp_path / "pki", tmp_path / "k", port=0, socket=tmp_path / "s")
    connector = aiohttp.UnixConnector(str(tmp_path / "s"))
    async with (
        Store(None) as store,
        aiohttp.ClientSession("http://x", connector=connector) as session,
    ):
        async with ApiServer(settings, store, KINDS, SystemClock(), random.Random(1)):
            answer = await session.get(CONFIG_MAPS, params={"watch": "true"})
        async with asyncio.timeout(5), answer:
            assert await answer.read() == b""
    assert not (tmp_path / "s").exists()


async def test_a_taken_address_is_named(served, tmp_path):
    settings = ApiServerSettings(tmp_path / "p2", tmp_path / "k2", port=served.port)
    async with Store(None) as store:
        with pytest.raises(AddressUnavailable, match=rf"127.0.0.1:{served.port}.*--api-port"):
            async with ApiServer(settings, store, KINDS, SystemClock(), random.Random(1)):
                pass
        settings = ApiServerSettings(
            tmp_path / "p2", tmp_path / "k2", port=0, socket=served.settings.socket
        )
        with pytest.raises(AddressUnavailable, match="another server answers there"):
            async with ApiServer(settings, store, KINDS, SystemClock(), random.Random(1)):
                pass
    assert served.settings.socket.exists()


async def test_a_dead_servers_socket_is_replaced(tmp_path):
    import socket

    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    settings = ApiServerSettings(tmp_path / "p", tmp_path / "k", port=0, socket=tmp_path / "s")
    async with (
        Store(None) as store,
        ApiServer(settings, store, KINDS, SystemClock(), random.Random(1)) as server,
    ):
        assert server.port > 0


@pytest.mark.parametrize(
    "raw",
    [
        b"GET http://127.0.0.1/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
async def test_odd_requests_get_400(served, raw):
    reader, writer = await asyncio.open_unix_connection(str(served.settings.socket))
    writer.write(raw)
    status = await asyncio.wait_for(reader.readline(), 5)
    assert b" 400 " in status or b" 431 " in status
    writer.close()
    await writer.wait_closed()


async def test_silent_connections_are_closed(served, local, monkeypatch):
    monkeypatch.setattr(listening, "FIRST_REQUEST_S", 0.05)
    reader, writer = await asyncio.open_unix_connection(str(served.settings.socket))
    writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
    async with local.get("/healthz") as answer:
        assert answer.status == 200
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    # One that has spoken stays.
    async with local.get("/healthz") as answer:
        assert answer.status == 200


async def test_connections_are_bounded(served, local, monkeypatch):
    async with local.get("/healthz") as answer:
        assert answer.status == 200
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 1)
    reader, writer = await asyncio.open_unix_connection(str(served.settings.socket))
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_too_many_requests_are_told_to_wait(client, monkeypatch):
    monkeypatch.setattr(shell, "_MAX_IN_FLIGHT", 0)
    async with client.get(CONFIG_MAPS) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    monkeypatch.undo()
    monkeypatch.setattr(shell, "_MAX_STREAMS", 0)
    async with client.get(CONFIG_MAPS, params={"watch": "1"}) as answer:
        assert answer.status == 429
