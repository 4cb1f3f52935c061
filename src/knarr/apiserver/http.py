"""The HTTP shell: the only place that listens.

Every listener comes out of ``HttpServer``, with limits on headers, bodies, time and connections.
Two kinds exist: TLS on an address, where a client certificate or a bearer token proves a user, and a Unix
socket, where the peer's uid proves the administrator.
"""

import asyncio
import gzip
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from aiohttp import HttpVersion11, web
from aiohttp.web_request import BaseRequest

from knarr.apiserver.auth import (
    HostCheck,
    authenticate_peer,
    authorize_path,
)
from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authentication.impersonation import impersonate, impersonation_of
from knarr.apiserver.authorization.authorizer import Authorizer
from knarr.apiserver.handler import Handler
from knarr.apiserver.listening import BoundedServer, bind_early, bind_unix
from knarr.apiserver.request import ApiRequest, ApiResponse, Stream, error_response
from knarr.apiserver.streams.shell import MAX_PARAMETERS, serve_session, upgrade_of
from knarr.apiserver.streams.upgrade import Session
from knarr.meta.errors import (
    BadRequest,
    KnarrError,
    StatusError,
    Timeout,
    TooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from knarr.resources.kind import UserInfo

MAX_BODY_BYTES = 3 << 20
_BODY_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 60.0
_WRITE_TIMEOUT_S = 30.0
_SHUTDOWN_S = 2.0
_GZIP_FROM_BYTES = 128 << 10
_MAX_IN_FLIGHT = 400
_MAX_STREAMS = 2_000
_MAX_SESSIONS = 500


class AddressUnavailable(KnarrError):
    """A listener's address cannot be had; the message says whose it is likely to be."""


@dataclass(frozen=True, slots=True)
class TlsListener:
    """HTTPS on an address; port 0 takes a free one.

    Attributes:
        early: the machine need not have the address yet.
    """

    host: str
    port: int
    context: ssl.SSLContext
    credentials: Credentials
    hosts: HostCheck
    early: bool = False


@dataclass(frozen=True, slots=True)
class UnixListener:
    """Plain HTTP on a Unix socket, for this user and root."""

    path: Path


class HttpServer:
    """Serves a handler on listeners for as long as its context is open."""

    def __init__(
        self,
        handler: Handler,
        *,
        tls: Sequence[TlsListener] = (),
        unix: Sequence[UnixListener] = (),
    ) -> None:
        self._handler = handler
        self._tls = tuple(tls)
        self._unix = tuple(unix)
        self._stack = AsyncExitStack()
        self._in_flight = 0
        self._sessions = 0
        self._streams: set[Stream] = set()
        self.ports: list[int] = []

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            AddressUnavailable: an address is taken or may not be used.
        """
        async with AsyncExitStack() as stack:
            for tls in self._tls:
                await self._listen_tls(stack, tls)
            for unix in self._unix:
                await self._listen_unix(stack, unix)
            stack.callback(self._end_streams)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, end streams, let requests finish for a moment."""
        await self._stack.aclose()

    def _end_streams(self) -> None:
        for stream in tuple(self._streams):
            stream.end()

    async def _runner(self, stack: AsyncExitStack, gate: "_Gate") -> web.ServerRunner:
        server = BoundedServer(gate.answer)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        return runner

    async def _listen_tls(self, stack: AsyncExitStack, listener: TlsListener) -> None:
        runner = await self._runner(stack, _TlsGate(self, listener))
        try:
            await _site(runner, listener).start()
        except OSError as error:
            raise AddressUnavailable(
                f"cannot listen on {listener.host}:{listener.port}: {error.strerror or error}. Another "
                f"program (or another Knarr) may hold it: choose another with --api-port"
            ) from error
        self.ports.append(int(runner.addresses[-1][1]))

    async def _listen_unix(self, stack: AsyncExitStack, listener: UnixListener) -> None:
        runner = await self._runner(stack, _UnixGate(self))
        path = listener.path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            bound = bind_unix(path)
        except OSError as error:
            raise AddressUnavailable(
                f"cannot listen on {path}: {error.strerror or error}"
            ) from error
        stack.callback(path.unlink, missing_ok=True)
        await web.SockSite(runner, bound).start()

    async def respond(self, http: BaseRequest, response: ApiResponse) -> web.StreamResponse:
        """Send a response; streams until their end or until the client is gone."""
        headers = [*response.headers, ("Content-Type", response.content_type), *_COMMON]
        if response.session is not None:
            return await self._take_over(http, response.session)
        if response.stream is None:
            return await _whole(http, response, headers)
        try:
            if len(self._streams) >= _MAX_STREAMS:
                refusal = error_response(TooManyRequests("too many streams", retry_after_s=5))
                return await self.respond(http, refusal)
            self._streams.add(response.stream)
            try:
                return await _streamed(http, response.stream, headers)
            finally:
                self._streams.discard(response.stream)
        finally:
            await response.stream.close()

    @property
    def authorizer(self) -> Authorizer:
        """Who may do what; impersonation is decided before there is a request."""
        return self._handler.authorizer

    async def _take_over(self, http: BaseRequest, session: Session) -> web.StreamResponse:
        """Leave HTTP for as long as a session runs."""
        if self._sessions >= _MAX_SESSIONS:
            await session.close()
            refusal = error_response(TooManyRequests("too many sessions", retry_after_s=5))
            return await self.respond(http, refusal)
        self._sessions += 1
        try:
            return await serve_session(http, session, list(_COMMON))
        finally:
            self._sessions -= 1

    async def call(self, request: ApiRequest) -> ApiResponse:
        """Ask the handler, within bounds of number and time."""
        if self._in_flight >= _MAX_IN_FLIGHT:
            return error_response(TooManyRequests("too many requests in flight", retry_after_s=1))
        self._in_flight += 1
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await self._handler.handle(request)
        except TimeoutError:
            return error_response(
                Timeout(f"the request did not complete within {_ANSWER_TIMEOUT_S:.0f} s")
            )
        finally:
            self._in_flight -= 1


def _site(runner: web.ServerRunner, listener: TlsListener) -> web.BaseSite:
    if listener.early:
        bound = bind_early(listener.host, listener.port)
        return web.SockSite(runner, bound, ssl_context=listener.context)
    return web.TCPSite(
        runner, listener.host, listener.port, ssl_context=listener.context, reuse_address=True
    )


_COMMON = (
    ("Cache-Control", "no-cache, private"),
    ("X-Content-Type-Options", "nosniff"),
    ("Server", "knarr"),
)


class _Gate:
    """What stands between a connection and the handler."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server

    def identify(self, http: BaseRequest, path: str) -> UserInfo:
        """Who asks.

        Raises:
            StatusError: they may not.
        """
        raise NotImplementedError

    def _acting_as(self, http: BaseRequest, sender: UserInfo) -> UserInfo:
        wanted = impersonation_of(http.headers.items())
        if wanted is None:
            return sender
        return impersonate(self._server.authorizer, sender, wanted)

    async def answer(self, http: BaseRequest) -> web.StreamResponse:
        """One request."""
        try:
            path, query = _target(http)
            user = self._acting_as(http, self.identify(http, path))
            request = await _read(http, path, query, user)
        except StatusError as error:
            return await self._server.respond(http, error_response(error))
        response = await self._server.call(request)
        return await self._server.respond(http, response)


class _TlsGate(_Gate):
    def __init__(self, server: HttpServer, listener: TlsListener) -> None:
        super().__init__(server)
        self._listener = listener

    def identify(self, http: BaseRequest, path: str) -> UserInfo:
        headers = http.headers
        self._listener.hosts.check(headers.get("Host", ""), headers.get("Origin", ""))
        certificate = http.transport.get_extra_info("peercert") if http.transport else None
        user = self._listener.credentials.authenticate(
            headers.get("Authorization", ""), certificate
        )
        return authorize_path(user, path)


class _UnixGate(_Gate):
    def identify(self, http: BaseRequest, path: str) -> UserInfo:
        connection = http.transport.get_extra_info("socket") if http.transport else None
        user = authenticate_peer(connection) if connection is not None else None
        return authorize_path(user, path)


def _is_text(value: str) -> bool:
    """Whether a header's bytes were UTF-8; those that are not arrive as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _target(http: BaseRequest) -> tuple[str, dict[str, str]]:
    """The path as it was sent and the query's first values."""
    target = http.raw_path
    most = MAX_PARAMETERS if "Upgrade" in http.headers else 100
    if not target.startswith("/"):
        raise BadRequest("the request target must be a path")
    for name, value in http.headers.items():
        if not value.isascii() and not _is_text(value):
            raise BadRequest(f"the header {name} is not UTF-8")
    path, _, text = target.partition("?")
    query: dict[str, str] = {}
    try:
        for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=most):
            query.setdefault(name, value)
    except ValueError as error:
        raise BadRequest(f"the query is malformed: {error}") from None
    return path, query


async def _read(http: BaseRequest, path: str, query: dict[str, str], user: UserInfo) -> ApiRequest:
    headers = http.headers
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("compressed request bodies are not accepted")
    return ApiRequest(
        method=http.method,
        path=path,
        user=user,
        query=query,
        body=await _body(http) if http.can_read_body else b"",
        content_type=headers.get("Content-Type", ""),
        accept=headers.get("Accept", ""),
        if_none_match=headers.get("If-None-Match", ""),
        user_agent=headers.get("User-Agent", ""),
        upgrade=upgrade_of(http) if "Upgrade" in headers else None,
    )


async def _body(http: BaseRequest) -> bytes:
    if (http.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            while part := await http.content.readany():
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                parts.append(part)
    except TimeoutError:
        raise StatusError(
            "the request body did not arrive in time", code=408, reason="Timeout"
        ) from None
    return b"".join(parts)


def _too_large() -> TooLarge:
    return TooLarge(f"the request body exceeds the limit of {MAX_BODY_BYTES} bytes")


async def _whole(
    http: BaseRequest, response: ApiResponse, headers: list[tuple[str, str]]
) -> web.Response:
    body = response.body
    if len(body) > _GZIP_FROM_BYTES and "gzip" in http.headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers = [*headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return web.Response(status=response.status, body=body, headers=_first(headers))


def _first(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers without later duplicates, except those that may repeat."""
    seen: set[str] = set()
    result = []
    for name, value in headers:
        if name in seen and name not in ("Warning", "Vary"):
            continue
        seen.add(name)
        result.append((name, value))
    return result


async def _streamed(
    http: BaseRequest, stream: Stream, headers: list[tuple[str, str]]
) -> web.StreamResponse:
    answer = web.StreamResponse(status=200, headers=_first(headers))
    if http.version >= HttpVersion11:
        answer.enable_chunked_encoding()
    await answer.prepare(http)
    begun = False
    while (chunks := await stream.next_chunks()) is not None:
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            # An event goes to many watchers: it costs each of them one record, and no timer unless the
            # client is slow. The first chunk takes the headers along, so it goes the long way.
            if begun and answer.chunked and _written_at_once(http, data):
                continue
            begun = True
            async with asyncio.timeout(_WRITE_TIMEOUT_S):
                await answer.write(data)
        except (TimeoutError, ConnectionError):
            if http.transport is not None:
                http.transport.abort()
            return answer
    await answer.write_eof()
    return answer


def _written_at_once(http: BaseRequest, data: bytes) -> bool:
    """Hand a chunk to a connection that takes it without waiting; False when it does not.

    Raises:
        ConnectionResetError: the client is gone.
    """
    transport = http.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    if http.protocol.writing_paused:
        return False
    if data:
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    return True
