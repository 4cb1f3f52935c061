"""Calls over real TLS, to servers on loopback with certificates made here."""

import asyncio
import base64
import json
import ssl

import pytest
from aiohttp import web
from tests.certificates import self_signed

from knarr.apiserver.webhooks.caller import MAX_ANSWER_BYTES, CallFailed, HttpsCaller
from knarr.apiserver.webhooks.targets import Target

NAME = "hooks.default.svc"


def _certificate(tmp_path, name, *addresses):
    certificate, key = self_signed(tmp_path, name, *addresses)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context, base64.b64encode(certificate.read_bytes()).decode()


class Server:
    """An HTTPS server that remembers who came."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.seen: list[web.Request] = []
        self.peers: set[int] = set()
        self.port = 0
        self.never = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.peers.add(request.transport.get_extra_info("peername")[1])
        body = await request.json()
        match request.path:
            case "/echo":
                return web.json_response({"got": body, "host": request.headers["Host"]})
            case "/slow":
                await self.never.wait()
            case "/away":
                raise web.HTTPFound("https://localhost/echo")
            case "/broken":
                return web.Response(status=500, text="secret")
            case "/large":
                return web.Response(body=b"x" * (MAX_ANSWER_BYTES + 1))
        raise web.HTTPNotFound


@pytest.fixture
async def server(tmp_path):
    context, bundle = _certificate(tmp_path, NAME, "127.0.0.1")
    running = Server(context)
    application = web.Application()
    application.router.add_post("/{path:.*}", running.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    running.port = site._server.sockets[0].getsockname()[1]
    running.bundle = bundle
    yield running
    running.never.set()
    await runner.cleanup()


@pytest.fixture
async def caller():
    async with HttpsCaller() as opened:
        yield opened


def target(server, path="/echo", *, name=NAME, bundle=None):
    return Target(
        f"https://{name}:443{path}",
        ("127.0.0.1", server.port),
        name,
        server.bundle if bundle is None else bundle,
    )


async def test_the_name_is_expected_at_another_address(server, caller):
    answer = await caller.call(target(server), b'{"a":1}', 5)
    assert json.loads(answer) == {"got": {"a": 1}, "host": f"{NAME}:443"}
    (request,) = server.seen
    assert request.query == {"timeout": "5s"}
    assert request.headers["Content-Type"] == "application/json"


async def test_connections_are_kept(server, caller):
    for _ in range(5):
        await caller.call(target(server), b"{}", 5)
    assert len(server.peers) == 1


async def test_a_connection_is_not_used_for_another_name(server, caller):
    await caller.call(target(server), b"{}", 5)
    with pytest.raises(CallFailed, match="tls: failed to verify certificate"):
        await caller.call(target(server, name="other.default.svc"), b"{}", 5)


async def test_unknown_certificates_are_refused(server, caller, tmp_path):
    _, other = _certificate(tmp_path, "stranger")
    for bundle in ("", other):
        with pytest.raises(CallFailed) as caught:
            await caller.call(target(server, bundle=bundle), b"{}", 5)
        assert str(caught.value).startswith(
            f'Post "https://{NAME}:443/echo?timeout=5s": tls: failed to verify'
        )
    assert server.seen == []


@pytest.mark.parametrize("bundle", ["%%%", base64.b64encode(b"no certificate").decode()])
async def test_a_bundle_that_is_none(server, caller, bundle):
    with pytest.raises(CallFailed, match="unable to load root certificates"):
        await caller.call(target(server, bundle=bundle), b"{}", 5)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/away", "the server responded with the status code 302"),
        ("/broken", "an error on the server"),
        ("/large", "the response is longer than"),
        ("/nowhere", "the server could not find the requested resource"),
    ],
)
async def test_other_answers_are_failures(server, caller, path, text):
    with pytest.raises(CallFailed, match=text) as caught:
        await caller.call(target(server, path), b"{}", 5)
    assert "secret" not in str(caught.value)
    assert len(server.seen) == 1


async def test_waiting_ends(server, caller):
    with pytest.raises(CallFailed, match=r"Post .*timeout=0.05s.: context deadline exceeded"):
        await caller.call(target(server, "/slow"), b"{}", 0.05)


async def test_nobody_there(server, caller):
    gone = Target("https://127.0.0.1:1/x", ("127.0.0.1", 1), "127.0.0.1", server.bundle)
    with pytest.raises(CallFailed) as caught:
        await caller.call(gone, b"{}", 5)
    assert str(caught.value) == (
        'Post "https://127.0.0.1:1/x?timeout=5s": dial tcp 127.0.0.1:1: connect: connection refused'
    )


async def test_a_caller_can_be_left_without_a_call():
    async with HttpsCaller():
        pass
