"""Who we are to a registry: basic credentials, or bearer tokens fetched from its token server and cached."""

from collections import OrderedDict
from typing import Any, NamedTuple

import aiohttp
import msgspec
from yarl import URL

from knarr.kits.clock import Clock
from knarr.node.images.auth import Challenge, basic, check_realm, token_parameters
from knarr.node.images.errors import Unauthorized
from knarr.node.images.records import Credentials
from knarr.node.images.reference import Reference
from knarr.node.images.registryhttp import (
    ATTEMPTS,
    NETWORK_ERRORS,
    Backoff,
    Endpoint,
    RegistryHttp,
    read_body,
    unreachable,
)

_TOKENS = 256
_TOKEN_BYTES = 64 * 1024


class _Token(NamedTuple):
    value: str
    expires: float


class _Answer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float = 60


class Authenticator:
    """Keeps at most 256 tokens, by registry, repository and account; the oldest go first."""

    def __init__(self, http: RegistryHttp, backoff: Backoff, clock: Clock) -> None:
        self._http = http
        self._backoff = backoff
        self._clock = clock
        self._tokens: OrderedDict[tuple[str, str, int], _Token] = OrderedDict()
        self._basic: set[str] = set()

    def header(self, reference: Reference, account: Credentials | None) -> dict[str, str]:
        """The Authorization header that is known to be wanted, or nothing."""
        token = self._tokens.get(_key(reference, account))
        if token is not None and token.expires > self._clock.monotonic():
            return {"Authorization": f"Bearer {token.value}"}
        if account is not None and reference.registry in self._basic:
            return {"Authorization": basic(account)}
        return {}

    async def answer(
        self,
        reference: Reference,
        endpoint: Endpoint,
        challenges: list[Challenge],
        account: Credentials | None,
    ) -> None:
        """Obtain what the next request needs.

        Raises:
            Unauthorized: credentials are missing, refused, or would go where they must not.
            RegistryUnavailable: the token server does not answer.
        """
        for challenge in challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                await self._fetch(reference, endpoint, challenge, account)
                return
        if not any(challenge.scheme == "basic" for challenge in challenges):
            raise Unauthorized(
                f"registry {reference.registry} wants an authentication that is not supported"
            )
        if account is None:
            raise missing_credentials(reference)
        self._basic.add(reference.registry)

    async def _fetch(
        self,
        reference: Reference,
        endpoint: Endpoint,
        challenge: Challenge,
        account: Credentials | None,
    ) -> None:
        realm = challenge.parameters["realm"]
        check_realm(realm, endpoint.host, plain=endpoint.plain, secret=account is not None)
        parameters = token_parameters(challenge, reference.repository)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                data = await self._ask(reference, endpoint, realm, parameters, account)
                break
            except NETWORK_ERRORS as error:
                await self._backoff.wait(attempt, unreachable(reference, error))
        else:
            raise Unauthorized(f"no token from {realm}")
        try:
            answer = msgspec.json.decode(data, type=_Answer)
        except msgspec.DecodeError as error:
            raise Unauthorized(f"token server {realm} of {reference.registry}: {error}") from error
        value = answer.token or answer.access_token
        if not value:
            raise Unauthorized(f"token server {realm} of {reference.registry} gave no token")
        # Ten seconds early: the token must outlive the request that carries it.
        expires = self._clock.monotonic() + max(answer.expires_in - 10, 5)
        self._tokens[_key(reference, account)] = _Token(value, expires)
        while len(self._tokens) > _TOKENS:
            self._tokens.popitem(last=False)

    async def _ask(
        self,
        reference: Reference,
        endpoint: Endpoint,
        realm: str,
        parameters: dict[str, str],
        account: Credentials | None,
    ) -> bytes:
        session = self._http.session(URL(realm), endpoint)
        options: dict[str, Any] = {"allow_redirects": False}
        if account is not None and account.identity_token:
            form = {**parameters, "grant_type": "refresh_token", "client_id": "knarr"}
            options["data"] = {**form, "refresh_token": account.identity_token}
            request = session.post(realm, **options)
        else:
            if account is not None:
                options["headers"] = {"Authorization": basic(account)}
            request = session.get(URL(realm).update_query(parameters), **options)
        async with request as response:
            if response.status in {400, 401, 403, 404}:
                raise refused(reference) if account else missing_credentials(reference)
            if response.status != 200:
                raise aiohttp.ClientError(f"its token server answered {response.status}")
            return await read_body(response, _TOKEN_BYTES, f"token of {realm}")


def _key(reference: Reference, account: Credentials | None) -> tuple[str, str, int]:
    return (reference.registry, reference.repository, hash(account))


def missing_credentials(reference: Reference) -> Unauthorized:
    """401 or 403 without an account: registries do not tell the two causes apart."""
    return Unauthorized(
        f"{reference.name} does not exist in {reference.registry}, or it needs credentials: check the name, "
        "or add imagePullSecrets"
    )


def refused(reference: Reference) -> Unauthorized:
    """401 or 403 with an account."""
    return Unauthorized(
        f"registry {reference.registry} refuses the credentials given for {reference.name}"
    )
