"""The transport that speaks HTTP/1.1: to any Kubernetes API over TLS, to our own over a Unix socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from knarr.kube.transport import JSON
from knarr.meta.errors import StatusError, Unavailable, error_from_status

_CONNECT_TIMEOUT_S = 5.0
_REQUEST_TIMEOUT_S = 60.0
_MAX_LINE_BYTES = 64 * 1024 * 1024
_MAX_ERROR_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an API server is and how to speak to it.

    Attributes:
        url: ``https://host:port``; for a Unix socket ``http://localhost``.
        unix_socket: path of the socket, or None for TCP.
        server_name: expected in the server's certificate instead of the URL's host, when not empty.
        tls: context with the CA (and a client certificate), or None for plain HTTP.
        token: bearer token, empty for none.
        token_file: read again before each request, as mounted tokens rotate; wins over ``token``.
    """

    url: str
    unix_socket: Path | None = None
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    token: str = field(default="", repr=False)
    token_file: Path | None = None


def unix_endpoint(socket: Path) -> Endpoint:
    """The endpoint of an API server on a Unix socket; the peer's uid is the credential."""
    return Endpoint(url="http://localhost", unix_socket=socket)


class HttpTransport:
    """``knarr.kube.transport.Transport`` over aiohttp; an async context manager that owns the pool."""

    def __init__(self, endpoint: Endpoint, *, user_agent: str = "knarr") -> None:
        self._endpoint = endpoint
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "HttpTransport":
        endpoint = self._endpoint
        connector: aiohttp.BaseConnector
        # No limit on connections: every watch holds one for good.
        if endpoint.unix_socket is not None:
            connector = aiohttp.UnixConnector(path=str(endpoint.unix_socket), limit=0)
        else:
            connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.tls or True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent, "Accept": JSON},
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The pool, for streams that are no API requests (logs, exec).

        Raises:
            RuntimeError: the transport was not entered.
        """
        if self._session is None:
            raise RuntimeError("HttpTransport is used outside its context")
        return self._session

    async def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {} if content_type is None else {"Content-Type": content_type}
        token = self._endpoint.token
        if self._endpoint.token_file is not None:
            token = (await asyncio.to_thread(self._endpoint.token_file.read_text)).strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
    ) -> bytes:
        """The response body of a 2xx (see ``Transport.request``)."""
        timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S)
        try:
            headers = await self._headers(content_type if body is not None else None)
            async with self.session.request(
                method,
                self._endpoint.url + path,
                params=query,
                data=body,
                headers=headers,
                timeout=timeout,
                server_hostname=self._endpoint.server_name or None,
                allow_redirects=False,
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if not 200 <= response.status < 300:
            raise _refusal(response.status, response.headers, answer)
        return answer

    def watch(
        self, path: str, *, query: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A stream of watch events (see ``Transport.watch``)."""
        return self._watch(path, query)

    @asynccontextmanager
    async def _watch(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
        try:
            response = await self.session.get(
                self._endpoint.url + path,
                params=query,
                headers=await self._headers(None),
                timeout=timeout,
                server_hostname=self._endpoint.server_name or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error
        async with response:
            if response.status != 200:
                raise _refusal(response.status, response.headers, await self._tail(response))
            yield self._lines(response)

    async def _tail(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        pending = bytearray()
        try:
            async for chunk in response.content.iter_any():
                pending += chunk
                if b"\n" not in chunk:
                    if len(pending) > _MAX_LINE_BYTES:
                        raise Unavailable(f"a watch event exceeds {_MAX_LINE_BYTES} bytes")
                    continue
                *lines, rest = bytes(pending).split(b"\n")
                pending = bytearray(rest)
                for line in lines:
                    if line.strip():
                        yield line
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unavailable:
        where = self._endpoint.unix_socket or self._endpoint.url
        return Unavailable(
            f"the API at {where} cannot be reached: {str(error) or type(error).__name__}"
        )


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The error that a non-2xx answer stands for, whether its body is a Status or not."""
    document: dict[str, Any] = {}
    try:
        decoded = msgspec.json.decode(body)
        if isinstance(decoded, dict) and decoded.get("kind") == "Status":
            document = decoded
    except msgspec.DecodeError:
        pass
    if not document:
        text = body.decode("utf-8", "replace").strip()[:_MAX_ERROR_CHARACTERS]
        reason = {404: "NotFound", 429: "TooManyRequests", 503: "ServiceUnavailable"}.get(
            status, ""
        )
        document = {"message": text or f"HTTP {status}", "reason": reason}
    error = error_from_status(document, status)
    retry_after = headers.get("Retry-After", "")
    if error.retry_after_s is None and retry_after.isdigit():
        error.retry_after_s = int(retry_after)
    return error
