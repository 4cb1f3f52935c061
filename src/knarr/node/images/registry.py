"""A client of the distribution API (OCI distribution-spec 1.1): manifests, digests, blobs.

Errors name the registry and what was asked; ``knarr.node.images.pull`` puts the reference in front.
"""

import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from knarr.kits.clock import Clock
from knarr.node.images.auth import parse_challenges
from knarr.node.images.blobs import digest_of
from knarr.node.images.errors import (
    DigestMismatch,
    InvalidManifest,
    NotFound,
    RegistryUnavailable,
)
from knarr.node.images.limits import Limits
from knarr.node.images.manifests import ACCEPT
from knarr.node.images.records import Credentials
from knarr.node.images.reference import Reference, is_digest
from knarr.node.images.registryhttp import (
    ATTEMPTS,
    NETWORK_ERRORS,
    Backoff,
    Endpoint,
    RegistryHttp,
    read_body,
    unreachable,
)
from knarr.node.images.tokens import Authenticator, missing_credentials, refused


class Fetched(NamedTuple):
    """A manifest or index as the registry has it."""

    data: bytes
    digest: str
    media_type: str


class BlobStream(NamedTuple):
    """A blob's bytes from ``offset`` on, which is 0 when the registry ignored the range."""

    offset: int
    chunks: AsyncIterator[bytes]


class RegistryClient:
    """See the module. An async context manager; one per process is enough."""

    def __init__(
        self,
        *,
        clock: Clock,
        rng: random.Random,
        insecure: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        trust_env: bool = False,
        base_delay_s: float = 0.5,
    ) -> None:
        """Args.

        clock: for the expiry of tokens.
        rng: for jitter.
        insecure: registries (``host:port``) spoken to by plain HTTP, besides those on this machine.
        limits: for the size of manifests.
        trust_env: use HTTPS_PROXY and the like.
        base_delay_s: of the exponential back-off.
        """
        self.backoff = Backoff(rng, base_delay_s)
        self._insecure = insecure
        self._limits = limits or Limits()
        self._http = RegistryHttp(trust_env=trust_env)
        self._auth = Authenticator(self._http, self.backoff, clock)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def resolve_digest(
        self, reference: Reference, credentials: Mapping[str, Credentials] | None = None
    ) -> str:
        """The digest of the manifest or index that a reference points to.

        Raises:
            Unauthorized, NotFound, RegistryUnavailable: as the registry answers.
        """
        if reference.digest:
            return reference.digest
        path = f"manifests/{reference.tag}"
        async with self._request(
            "HEAD", reference, path, credentials, {"Accept": ACCEPT}
        ) as response:
            digest = response.headers.get("Docker-Content-Digest", "")
        if is_digest(digest):
            return digest
        return (await self.manifest(reference, credentials)).digest

    async def manifest(
        self, reference: Reference, credentials: Mapping[str, Credentials] | None = None
    ) -> Fetched:
        """A manifest or index, verified against the digest of the reference or of the answer.

        Raises:
            Unauthorized, NotFound, RegistryUnavailable, DigestMismatch, LimitExceeded.
        """
        path = f"manifests/{reference.digest or reference.tag}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._request(
                    "GET", reference, path, credentials, {"Accept": ACCEPT}
                ) as response:
                    data = await read_body(
                        response, self._limits.manifest_bytes, f"manifest of {reference}"
                    )
                    claimed = response.headers.get("Docker-Content-Digest", "")
                    media_type = response.content_type
                break
            except NETWORK_ERRORS as error:
                await self.backoff.wait(attempt, unreachable(reference, error))
        else:
            raise InvalidManifest(f"manifest of {reference} could not be read")
        expected = reference.digest or (claimed if is_digest(claimed) else "")
        if expected.startswith("sha512:"):
            raise InvalidManifest(f"{reference}: manifests by sha512 are not supported")
        digest = digest_of(data)
        if expected and digest != expected:
            raise DigestMismatch(f"manifest of {reference} has digest {digest}, not {expected}")
        return Fetched(data, digest, media_type)

    @contextlib.asynccontextmanager
    async def blob(
        self,
        reference: Reference,
        digest: str,
        offset: int,
        credentials: Mapping[str, Credentials] | None = None,
    ) -> AsyncIterator[BlobStream]:
        """A blob's bytes; not verified. Network errors pass through while the chunks are read.

        Raises:
            Unauthorized, NotFound, RegistryUnavailable: as the registry answers.
            aiohttp.ClientError, TimeoutError: the connection broke; ask again with a new offset.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._request(
            "GET", reference, f"blobs/{digest}", credentials, headers
        ) as response:
            begins = offset if response.status == 206 else 0
            given = response.headers.get("Content-Range", "")
            if response.status == 206 and not given.startswith(f"bytes {offset}-"):
                raise RegistryUnavailable(f"{reference.registry} answered another range: {given!r}")
            yield BlobStream(begins, response.content.iter_any())

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        reference: Reference,
        path: str,
        credentials: Mapping[str, Credentials] | None,
        headers: dict[str, str],
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful response, after authentication, redirects and retries."""
        endpoint = Endpoint(reference.registry, self._insecure)
        url = endpoint.base.join(URL(f"/v2/{quote(reference.repository)}/{path}", encoded=True))
        account = (credentials or {}).get(reference.registry)
        authenticated = False
        attempt = 1
        while True:
            sent = {**headers, **self._auth.header(reference, account)}
            async with contextlib.AsyncExitStack() as stack:
                try:
                    follow = self._http.follow(method, url, sent, endpoint)
                    response = await stack.enter_async_context(follow)
                except NETWORK_ERRORS as error:
                    trouble, pause = unreachable(reference, error), 0.0
                else:
                    if response.status in {200, 206}:
                        yield response
                        return
                    if response.status == 401 and not authenticated:
                        authenticated = True
                        values = response.headers.getall("WWW-Authenticate", [])
                        challenges = parse_challenges(values)
                        await self._auth.answer(reference, endpoint, challenges, account)
                        continue
                    trouble, pause = _failure(reference, path, response, account)
            await self.backoff.wait(attempt, trouble, pause)
            attempt += 1


def _failure(
    reference: Reference,
    path: str,
    response: aiohttp.ClientResponse,
    account: Credentials | None,
) -> tuple[RegistryUnavailable, float]:
    """The error to retry after, and the seconds to wait at least; raises what no retry can change."""
    status = response.status
    if status in {401, 403}:
        raise refused(reference) if account else missing_credentials(reference)
    if status == 404:
        missing = str(reference) if path.startswith("manifests/") else f"{path} of {reference.name}"
        raise NotFound(f"{missing} is not in {reference.registry}")
    if status not in {408, 416, 425, 429} and status < 500:
        raise InvalidManifest(f"registry {reference.registry} answers {status} for {path}")
    pause = response.headers.get("Retry-After", "")
    seconds = float(pause) if pause.isdecimal() else 0.0
    return RegistryUnavailable(f"registry {reference.registry} answers {status}"), seconds
