"""What accepts connections: aiohttp's server with bounds of its own, and sockets of our own making."""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import msgspec
from aiohttp import HttpVersion10, web
from aiohttp.web_request import BaseRequest

from knarr.meta.errors import StatusError, status_body

FIRST_REQUEST_S = 10.0
MAX_CONNECTIONS = 4_000
_KEEPALIVE_S = 120.0
_MAX_ERROR_CHARACTERS = 200
_IP_FREEBIND = 15
_log = logging.getLogger(__name__)
Answer = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


class _Connection(web.RequestHandler):
    """Answers what is no HTTP, and faults of its own, with a Status."""

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The last answer of a connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was under way already") from exc
        if status >= 500:
            _log.error("a connection failed", exc_info=exc)
            error = StatusError("internal error, see the server's log")
        else:
            text = (message or "").strip().partition("\n")[0].rstrip(":")[:_MAX_ERROR_CHARACTERS]
            error = StatusError(f"this is no valid HTTP: {text}", code=status, reason="BadRequest")
            _log.debug("%s", error)
        body = msgspec.json.encode(status_body(error))
        response = web.Response(status=status, body=body, content_type="application/json")
        response.force_close()
        return response


class BoundedServer(web.Server):
    """Closes connections that send no request in time, and those above the limit."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(self._serve, handler_cancellation=True)
        self._answer = answer
        self._silent: set[web.RequestHandler] = set()

    async def _serve(self, http: BaseRequest) -> web.StreamResponse:
        self._silent.discard(http.protocol)
        if http.version < HttpVersion10:
            return web.Response(status=505, text="this server speaks HTTP/1.1\n")
        return await self._answer(http)

    def __call__(self) -> web.RequestHandler:
        """The protocol of a new connection."""
        if len(self.connections) >= MAX_CONNECTIONS:
            return cast("web.RequestHandler", _Refusal())
        connection = _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_KEEPALIVE_S,
            access_log=None,  # type: ignore[arg-type]  # None switches it off
            auto_decompress=False,
            max_headers=64,
            logger=_log,
        )
        self._silent.add(connection)
        asyncio.get_running_loop().call_later(FIRST_REQUEST_S, self._check, connection)
        return connection

    def _check(self, connection: web.RequestHandler) -> None:
        if connection in self._silent:
            self._silent.discard(connection)
            if connection.transport is not None:
                connection.transport.abort()


class _Refusal(asyncio.Protocol):
    """Ends a connection as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cut it; the listener's backlog is where clients shall wait."""
        cast("asyncio.Transport", transport).abort()


def bind_early(host: str, port: int) -> socket.socket:
    """A socket on an IPv4 address that this machine need not have yet (``IP_FREEBIND``)."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def bind_unix(path: Path) -> socket.socket:
    """A listening socket that only this user can reach; a leftover of a dead server is replaced."""
    if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        else:
            raise OSError(98, "another server answers there")
        finally:
            probe.close()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(old_mask)
    return bound
