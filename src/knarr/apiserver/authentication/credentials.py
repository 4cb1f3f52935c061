"""Everything by which a client can prove who it is, in the order in which it is tried."""

import hashlib
import hmac
import random
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.apiserver.authentication.certificates import user_of_certificate
from knarr.apiserver.authentication.claims import ISSUER
from knarr.apiserver.authentication.issuing import TokenIssuer
from knarr.apiserver.authentication.jwt import InvalidToken
from knarr.apiserver.authentication.serviceaccounts import ServiceAccountTokens, Verified
from knarr.apiserver.authentication.signing import SigningKeys
from knarr.kits.clock import Clock
from knarr.meta.errors import Unavailable
from knarr.resources.kind import UserInfo
from knarr.store.store import Store


class Credentials:
    """Knows fixed tokens by digest, certificates of the CA and service account tokens.

    Args:
        store: for what service account tokens are bound to.
        clock, rng: for tokens.
    """

    def __init__(self, store: Store, clock: Clock, rng: random.Random) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._fixed: list[tuple[bytes, UserInfo]] = []
        self._accounts: ServiceAccountTokens | None = None
        self._issuer: TokenIssuer | None = None
        self.jwks = b'{"keys":[]}'

    def load(self, tokens: Mapping[str, UserInfo], keys: SigningKeys) -> None:
        """Take up what is kept on disk; until then nobody can prove anything."""
        self._fixed = [(_digest(token), user) for token, user in tokens.items()]
        self._accounts = ServiceAccountTokens(self._store, keys.public, self._clock)
        self._issuer = TokenIssuer(keys, self._clock, self._rng)
        self.jwks = keys.jwks

    @property
    def issuer(self) -> TokenIssuer:
        """Makes service account tokens.

        Raises:
            Unavailable: the keys were not loaded.
        """
        if self._issuer is None:
            raise Unavailable("there is no key to sign service account tokens with")
        return self._issuer

    def authenticate(
        self, authorization: str, certificate: Mapping[str, Any] | None = None
    ) -> UserInfo | None:
        """The user of a request, None when nothing proves one.

        Args:
            authorization: the header.
            certificate: of the client, verified by TLS.
        """
        user = user_of_certificate(certificate)
        if user is not None:
            return user
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        try:
            return self.review(token).user
        except InvalidToken:
            return None

    def review(self, token: str, audiences: Sequence[str] = ()) -> Verified:
        """Who a bearer token stands for.

        Args:
            token: whatever a client sent.
            audiences: whom it must be for; this API server unless given.

        Raises:
            InvalidToken: it proves nothing.
        """
        wanted = tuple(audiences) or (ISSUER,)
        presented = _digest(token)
        found = None
        for digest, user in self._fixed:
            if hmac.compare_digest(digest, presented):
                found = user
        if found is not None and ISSUER in wanted:
            return Verified(found, (ISSUER,))
        if self._accounts is None or found is not None:
            raise InvalidToken("the token is not for these audiences")
        return self._accounts.verify(token, wanted)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
