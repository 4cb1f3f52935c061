"""The log client against a node agent on a Unix socket."""

import pytest
from aiohttp import web

from knarr.apiserver.nodeproxy import NodeLogs
from knarr.apiserver.podlogs import LogOptions
from knarr.meta.errors import BadRequest, StatusError, Unavailable


@pytest.fixture
async def node(tmp_path):
    seen = []

    async def answer(request):
        seen.append((request.path, dict(request.query)))
        if request.match_info["name"] == "bad":
            body = {"message": "container is waiting to start", "reason": "BadRequest", "code": 400}
            return web.json_response(body, status=400)
        if request.match_info["name"] == "odd":
            return web.Response(text="boom", status=502)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await response.write(b"two\n")
        return response

    app = web.Application()
    app.router.add_get("/v1/pods/{namespace}/{name}/logs", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "node.sock")).start()
    yield tmp_path / "node.sock", seen
    await runner.cleanup()


async def test_options_become_the_query_and_bytes_come_back(node):
    socket, seen = node
    async with NodeLogs(socket) as logs:
        options = LogOptions(
            "c", follow=True, tail_lines=0, since_time="2026-01-01T00:00:00Z", limit_bytes=5
        )
        stream = await logs.open("ns", "p", options)
        received = b""
        while (chunks := await stream.next_chunks()) is not None:
            received += b"".join(chunks)
        await stream.close()
    assert received == b"one\ntwo\n"
    assert seen == [
        (
            "/v1/pods/ns/p/logs",
            {
                "container": "c", "follow": "true", "tailLines": "0",
                "sinceTime": "2026-01-01T00:00:00Z", "limitBytes": "5",
            },
        )
    ]  # fmt: skip


async def test_refusals_keep_their_words(node):
    socket, _ = node
    async with NodeLogs(socket) as logs:
        with pytest.raises(BadRequest, match="waiting to start"):
            await logs.open("ns", "bad", LogOptions("c"))
        with pytest.raises(StatusError, match="boom") as caught:
            await logs.open("ns", "odd", LogOptions("c"))
        assert caught.value.code == 502


async def test_a_missing_node_agent_is_unavailable(tmp_path):
    logs = NodeLogs(tmp_path / "nothing.sock")
    with pytest.raises(Unavailable, match="closed"):
        await logs.open("ns", "p", LogOptions("c"))
    async with logs:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await logs.open("ns", "p", LogOptions("c"))


async def test_end_stops_a_reader(node):
    socket, _ = node
    async with NodeLogs(socket) as logs:
        stream = await logs.open("ns", "p", LogOptions("c"))
        stream.end()
        while await stream.next_chunks() is not None:
            pass
