"""HTTPS calls of webhooks: connections are kept, answers are bounded."""

import asyncio
import base64
import os
import ssl
from collections import OrderedDict
from types import TracebackType
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from knarr.apiserver.webhooks.targets import Target

MAX_ANSWER_BYTES: Final = 4 << 20
_MAX_CONNECTIONS: Final = 100
_MAX_CONTEXTS: Final = 64
_CHUNK: Final = 1 << 16


class CallFailed(Exception):
    """A webhook that could not be asked; the text says why."""


class Caller(Protocol):
    """Sends reviews."""

    async def call(self, target: Target, body: bytes, timeout_s: float) -> bytes:
        """The body of a successful response.

        Raises:
            CallFailed: there was none in time.
        """
        ...


class HttpsCaller:
    """Calls webhooks; an async context manager.

    More than 100 calls at once wait for a connection, within their time limit.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        # one context per name: a connection is never used for another name than it was verified for
        self._contexts: OrderedDict[tuple[str, str], ssl.SSLContext] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """The session, opened at the first call: most servers have no webhooks."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def call(self, target: Target, body: bytes, timeout_s: float) -> bytes:
        """The body of a successful response.

        Raises:
            CallFailed: there was none in time.
        """
        shown = f"{target.url}?timeout={timeout_s:g}s"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(target, body, f"{timeout_s:g}s")
        except TimeoutError:
            raise CallFailed(f'Post "{shown}": context deadline exceeded') from None
        except aiohttp.ClientConnectorCertificateError as error:
            reason = f"failed to verify certificate: {error.certificate_error}"
            raise CallFailed(f'Post "{shown}": tls: {reason}') from None
        except ssl.SSLError as error:
            raise CallFailed(f'Post "{shown}": tls: {error}') from None
        except aiohttp.ClientConnectorError as error:
            where = f"{target.connect[0]}:{target.connect[1]}"
            reason = f"dial tcp {where}: connect: {_plain(error.os_error)}"
            raise CallFailed(f'Post "{shown}": {reason}') from None
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise CallFailed(f'Post "{shown}": {reason}') from None

    async def _post(self, target: Target, body: bytes, timeout: str) -> bytes:
        named = URL(target.url)
        host, port = target.connect
        url = named.with_host(host).with_port(port).with_query({"timeout": timeout})
        async with self._opened().post(
            url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Host": urlsplit(target.url).netloc,
                "User-Agent": "kube-apiserver-admission",
            },
            allow_redirects=False,
            ssl=self._context(target),
            server_hostname=target.server_name,
        ) as response:
            answer = await _read(response)
            if 200 <= response.status < 300:
                return answer
            raise CallFailed(_status_text(response.status))

    def _context(self, target: Target) -> ssl.SSLContext:
        key = (target.ca_bundle, target.server_name)
        context = self._contexts.get(key)
        if context is None:
            context = _trusting(target.ca_bundle)
            self._contexts[key] = context
            if len(self._contexts) > _MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(key)
        return context


def _trusting(bundle: str) -> ssl.SSLContext:
    if not bundle:
        return ssl.create_default_context()
    try:
        pem = base64.b64decode(bundle, validate=True).decode("ascii")
        if not pem.strip():
            raise ValueError("no certificate")
        return ssl.create_default_context(cadata=pem)
    except (ValueError, ssl.SSLError):
        raise CallFailed(
            "unable to load root certificates: unable to parse bytes as PEM block"
        ) from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise CallFailed(f"the response is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _plain(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _status_text(status: int) -> str:
    """Kubernetes' words for a response without a Status of its own."""
    if status == 404:
        return "the server could not find the requested resource"
    if status >= 500:
        return (
            'an error on the server ("unknown") has prevented the request from succeeding '
            f"(HTTP {status})"
        )
    return f"the server responded with the status code {status} but did not return more information"
