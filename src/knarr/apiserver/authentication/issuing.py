"""Makes service account tokens."""

import datetime as dt
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from knarr.apiserver.authentication.claims import (
    ISSUER,
    LEGACY_ISSUER,
    UNBOUND,
    Bound,
    new_claims,
)
from knarr.apiserver.authentication.names import service_account_name
from knarr.apiserver.authentication.signing import Signer, SigningKeys
from knarr.kits.clock import Clock
from knarr.meta.objects import Key

DEFAULT_EXPIRATION_S = 3_600


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and when it ends, in UTC."""

    token: str
    expires: dt.datetime


class TokenIssuer:
    """Signs tokens for service accounts; checks nothing, so callers know whom they ask for.

    Args:
        keys: to sign with.
        clock, rng: for times and token ids.
    """

    def __init__(self, keys: SigningKeys, clock: Clock, rng: random.Random) -> None:
        self._signer = Signer(keys)
        self._clock = clock
        self._rng = rng

    async def issue(
        self,
        account: Key,
        uid: str,
        *,
        expires_s: int = DEFAULT_EXPIRATION_S,
        audiences: Sequence[str] = (),
        bound: Bound = UNBOUND,
    ) -> IssuedToken:
        """A new token.

        Args:
            account: namespace and name of the ServiceAccount.
            uid: of the ServiceAccount: the token ends with it.
            expires_s: how long it is good for, in seconds.
            audiences: whom it is for; this API server unless given.
            bound: objects with which it ends.

        Raises:
            SigningKeyUnusable: the key's file is absent or damaged.
        """
        now = self._clock.wall().replace(microsecond=0)
        claims = new_claims(
            account,
            uid,
            now=now,
            expires_s=expires_s,
            audiences=tuple(audiences) or (ISSUER,),
            jti=str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            bound=bound,
        )
        token = await self._signer.sign(claims)
        return IssuedToken(token, now + dt.timedelta(seconds=expires_s))

    async def issue_legacy(self, account: Key, uid: str, secret: str) -> str:
        """The token of a Secret of type ``kubernetes.io/service-account-token``: it ends with the Secret.

        Args:
            account: namespace and name of the ServiceAccount.
            uid: of the ServiceAccount.
            secret: name of the Secret that holds the token, in the same namespace.

        Raises:
            SigningKeyUnusable: as ``issue``.
        """
        prefix = "kubernetes.io/serviceaccount"
        return await self._signer.sign(
            {
                "iss": LEGACY_ISSUER,
                f"{prefix}/namespace": account.namespace,
                f"{prefix}/secret.name": secret,
                f"{prefix}/service-account.name": account.name,
                f"{prefix}/service-account.uid": uid,
                "sub": service_account_name(account.namespace, account.name),
            }
        )
