"""What a service account token says: Kubernetes' claims, typed (``pkg/serviceaccount/claims.go``)."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.apiserver.authentication.jwt import InvalidToken
from knarr.apiserver.authentication.names import (
    AUTHENTICATED,
    service_account_groups,
    service_account_name,
)
from knarr.meta.objects import Key
from knarr.resources.kind import UserInfo

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Also the only audience of this server, and what a token is for unless it says otherwise."""
LEGACY_ISSUER = "kubernetes/serviceaccount"
_CLOCK_STEP_S = 60
_EXTRA = "authentication.kubernetes.io/"


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object by name and uid."""

    name: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token ends with; a node beside a Pod only informs."""

    pod: Reference | None = None
    secret: Reference | None = None
    node: Reference | None = None


UNBOUND = Bound()


class Binding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose token it is, and the objects without which it is worth nothing."""

    namespace: str = ""
    serviceaccount: Reference = Reference()
    pod: Reference | None = None
    secret: Reference | None = None
    node: Reference | None = None


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims of a token; times in seconds since the epoch."""

    iss: str = ""
    sub: str = ""
    aud: str | tuple[str, ...] = ()
    exp: int | float = 0
    nbf: int | float = 0
    iat: int | float = 0
    jti: str = ""
    kubernetes: Binding = msgspec.field(default=Binding(), name="kubernetes.io")
    legacy_namespace: str = msgspec.field(default="", name="kubernetes.io/serviceaccount/namespace")
    legacy_secret: str = msgspec.field(default="", name="kubernetes.io/serviceaccount/secret.name")
    legacy_name: str = msgspec.field(
        default="", name="kubernetes.io/serviceaccount/service-account.name"
    )
    legacy_uid: str = msgspec.field(
        default="", name="kubernetes.io/serviceaccount/service-account.uid"
    )

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom the token is for."""
        return (self.aud,) if isinstance(self.aud, str) else self.aud


_DECODER = msgspec.json.Decoder(Claims)


def decode_claims(payload: bytes) -> Claims:
    """The claims of a verified token, with those of legacy tokens in their modern place.

    Raises:
        InvalidToken: they are malformed, contradict themselves or come from elsewhere.
    """
    try:
        claims = _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise InvalidToken("the claims of the token are malformed") from None
    if claims.iss == LEGACY_ISSUER:
        claims = msgspec.structs.replace(
            claims,
            aud=(ISSUER,),
            kubernetes=Binding(
                namespace=claims.legacy_namespace,
                serviceaccount=Reference(claims.legacy_name, claims.legacy_uid),
            ),
        )
        if not claims.legacy_secret:
            raise InvalidToken("the token names no Secret")
    elif claims.iss != ISSUER:
        raise InvalidToken("the token was issued by somebody else")
    elif not claims.exp:
        raise InvalidToken("the token has no end")
    account = claims.kubernetes
    if not account.serviceaccount.uid or claims.sub != service_account_name(
        account.namespace, account.serviceaccount.name
    ):
        raise InvalidToken("the subject of the token is not its service account")
    return claims


def check_times(claims: Claims, now: dt.datetime) -> None:
    """Compare the token's times with now; its beginning may be a clock's step in the future.

    Raises:
        InvalidToken: it has ended or not begun.
    """
    seconds = now.timestamp()
    if claims.exp and seconds >= claims.exp:
        raise InvalidToken("service account token has expired")
    if seconds + _CLOCK_STEP_S < max(claims.nbf, claims.iat):
        raise InvalidToken("service account token is not valid yet")


def check_audiences(claims: Claims, wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the wanted audiences that the token is for.

    Raises:
        InvalidToken: there are none.
    """
    common = tuple(audience for audience in wanted if audience in claims.audiences)
    if not common:
        raise InvalidToken(
            f"token audiences {list(claims.audiences)} is invalid for the target audiences {list(wanted)}"
        )
    return common


def user_of(claims: Claims) -> UserInfo:
    """The user behind the claims."""
    bound = claims.kubernetes
    extra: dict[str, tuple[str, ...]] = {}
    if claims.jti:
        extra[f"{_EXTRA}credential-id"] = (f"JTI={claims.jti}",)
    for kind, reference in (("pod", bound.pod), ("node", bound.node)):
        if reference is not None:
            extra[f"{_EXTRA}{kind}-name"] = (reference.name,)
            if reference.uid:
                extra[f"{_EXTRA}{kind}-uid"] = (reference.uid,)
    return UserInfo(
        claims.sub,
        (*service_account_groups(bound.namespace), AUTHENTICATED),
        bound.serviceaccount.uid,
        extra,
    )


def new_claims(
    account: Key,
    uid: str,
    *,
    now: dt.datetime,
    expires_s: int,
    audiences: Sequence[str],
    jti: str,
    bound: Bound = UNBOUND,
) -> Mapping[str, Any]:
    """The claims of a new token, ready to be signed.

    Args:
        account: namespace and name of the ServiceAccount.
        uid: of the ServiceAccount.
        now: when it is made.
        expires_s: how long it is good for, in seconds.
        audiences: whom it is for.
        jti: unique.
        bound: what it ends with.
    """
    begin = int(now.timestamp())
    whose = Reference(account.name, uid)
    binding = Binding(account.namespace, whose, bound.pod, bound.secret, bound.node)
    return {
        "aud": list(audiences),
        "exp": begin + expires_s,
        "iat": begin,
        "iss": ISSUER,
        "jti": jti,
        "kubernetes.io": msgspec.to_builtins(binding),
        "nbf": begin,
        "sub": service_account_name(account.namespace, account.name),
    }
