"""HTTP to registries: sessions, redirects followed by hand, back-off, and where a redirect must not lead.

Credentials stay with the registry's own origin. A foreign host (of a redirect or a token server) may neither
be on this machine nor link-local (cloud metadata), unless the registry itself is on this machine.
"""

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiohttp
import aiohttp.abc
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from knarr.node.images.errors import LimitExceeded, RegistryUnavailable, Unauthorized
from knarr.node.images.reference import DEFAULT_REGISTRY, Reference, is_loopback_registry

ATTEMPTS = 5
NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, ConnectionError)
_HUB = "registry-1.docker.io"
_REDIRECTS = 5
_MAX_WAIT_S = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=20, sock_connect=15, sock_read=30)


class _ForeignResolver(aiohttp.abc.AbstractResolver):
    """Refuses addresses that a registry must not lead to."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            if is_forbidden(result["host"]):
                raise OSError(f"{host} is {result['host']}, where a registry must not send us")
        return found

    async def close(self) -> None:
        await self._inner.close()


def is_forbidden(address: str) -> bool:
    """Whether an IP address is this machine, link-local, multicast or unspecified; False for names."""
    try:
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified


class Endpoint:
    """Where a registry is and how it is spoken to.

    Attributes:
        base: URL without path.
        plain: HTTP without TLS is accepted.
        local: the registry is on this machine.
    """

    __slots__ = ("base", "local", "plain")

    def __init__(self, registry: str, insecure: frozenset[str]) -> None:
        self.local = is_loopback_registry(registry)
        self.plain = self.local or registry in insecure
        host = _HUB if registry == DEFAULT_REGISTRY else registry
        self.base = URL(f"{'http' if self.plain else 'https'}://{host}")

    @property
    def host(self) -> str:
        """Name or address without port."""
        return self.base.host or ""


class Backoff:
    """Exponential waits with jitter: half of each wait is random, none is longer than 30 s."""

    def __init__(self, rng: random.Random, base_delay_s: float) -> None:
        self._rng = rng
        self._base_delay_s = base_delay_s

    async def wait(self, attempt: int, error: RegistryUnavailable, at_least_s: float = 0.0) -> None:
        """Sleep before attempt ``attempt + 1``.

        Raises:
            RegistryUnavailable: ``error``, after the last attempt.
        """
        if attempt >= ATTEMPTS:
            raise error
        delay = self._base_delay_s * 2 ** (attempt - 1) * self._rng.uniform(0.5, 1.0)
        await asyncio.sleep(min(max(delay, at_least_s), _MAX_WAIT_S))


class RegistryHttp:
    """Two connection pools: one for registries, one for the hosts they send us to."""

    def __init__(self, *, trust_env: bool) -> None:
        """Args: ``trust_env`` uses HTTPS_PROXY and the like."""
        self._trust_env = trust_env
        self._stack = contextlib.AsyncExitStack()
        self._own: aiohttp.ClientSession | None = None
        self._foreign: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._own = await self._stack.enter_async_context(self._session(ThreadedResolver()))
        self._foreign = await self._stack.enter_async_context(self._session(_ForeignResolver()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _session(self, resolver: aiohttp.abc.AbstractResolver) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, limit=16),
            timeout=_TIMEOUT,
            auto_decompress=False,
            trust_env=self._trust_env,
            headers={"User-Agent": "knarr", "Accept-Encoding": "identity"},
        )

    def session(self, url: URL, endpoint: Endpoint) -> aiohttp.ClientSession:
        """The session to send a request to ``url`` with, which ``endpoint`` named.

        Raises:
            Unauthorized: ``url`` is an address where a registry must not send us.
        """
        if self._own is None or self._foreign is None:
            raise RuntimeError("RegistryHttp is used outside its context")
        if endpoint.local or url.host == endpoint.host:
            return self._own
        if is_forbidden(url.host or ""):
            raise Unauthorized(f"{endpoint.host} leads to {url.host}, where it must not send us")
        return self._foreign

    @contextlib.asynccontextmanager
    async def follow(
        self, method: str, url: URL, headers: dict[str, str], endpoint: Endpoint
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and follow redirects.

        Raises:
            Unauthorized: a redirect leads where it must not.
            RegistryUnavailable: too many redirects.
            aiohttp.ClientError, TimeoutError, ConnectionError: the network.
        """
        anonymous = {name: value for name, value in headers.items() if name != "Authorization"}
        for _ in range(_REDIRECTS + 1):
            sent = headers if url.origin() == endpoint.base.origin() else anonymous
            session = self.session(url, endpoint)
            async with session.request(
                method, url, headers=sent, allow_redirects=False
            ) as response:
                location = response.headers.get("Location", "")
                if response.status not in {301, 302, 303, 307, 308} or not location:
                    yield response
                    return
                target = url.join(URL(location, encoded=True))
            if target.scheme != "https" and not (target.scheme == "http" and endpoint.plain):
                raise Unauthorized(
                    f"{endpoint.host} redirects to {target.scheme}://{target.host} without TLS"
                )
            url = target
        raise RegistryUnavailable(f"{endpoint.host} redirects more than {_REDIRECTS} times")


async def read_body(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    """A small body as a whole.

    Raises:
        LimitExceeded: more than ``limit`` bytes.
    """
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > limit:
            raise LimitExceeded(f"{what} is larger than {limit} bytes")
    return bytes(data)


def unreachable(reference: Reference, error: BaseException) -> RegistryUnavailable:
    """A network error as people read it."""
    cause = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error.strerror or str(error.os_error)
    hint = ""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        hint = ": its certificate is not trusted by this machine; add its CA to /etc/ssl/certs"
    elif isinstance(error, aiohttp.ClientConnectorSSLError):
        hint = ": it does not speak TLS; if it is meant to, name it an insecure registry"
    elif isinstance(error, TimeoutError):
        cause = "it does not answer in time"
    return RegistryUnavailable(f"registry {reference.registry} cannot be reached: {cause}{hint}")
