"""Acting as somebody else: the ``Impersonate-*`` headers, and who may use them.

Semantics: Kubernetes ``apiserver/pkg/endpoints/filters/impersonation.go``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from knarr.apiserver.authentication.names import (
    ANONYMOUS_USER,
    AUTHENTICATED,
    UNAUTHENTICATED,
    service_account_groups,
    split_service_account,
)
from knarr.apiserver.authorization.attributes import Attributes
from knarr.apiserver.authorization.authorizer import Authorizer
from knarr.meta.errors import BadRequest
from knarr.resources.kind import UserInfo

_PREFIX = "impersonate-"
_EXTRA = "extra-"
_AUTHENTICATION = "authentication.k8s.io"


@dataclass(slots=True)
class Impersonation:
    """Whom a request wants to act as."""

    user: str = ""
    groups: list[str] = field(default_factory=list)
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)


def impersonation_of(headers: Iterable[tuple[str, str]]) -> Impersonation | None:
    """What the headers of a request ask for, None when they ask for nothing.

    Raises:
        BadRequest: a header is unknown (the request would run with more rights than its sender thinks),
            or there is no user to which the others belong.
    """
    wanted: Impersonation | None = None
    for name, value in headers:
        if not name.lower().startswith(_PREFIX):
            continue
        wanted = wanted or Impersonation()
        rest = name.lower().removeprefix(_PREFIX)
        if rest == "user":
            wanted.user = wanted.user or value
        elif rest == "group":
            wanted.groups.append(value)
        elif rest == "uid":
            wanted.uid = wanted.uid or value
        elif rest.startswith(_EXTRA):
            wanted.extra.setdefault(unquote(rest.removeprefix(_EXTRA)), []).append(value)
        else:
            raise BadRequest(f"the header {name} is unknown")
    if wanted is not None and not wanted.user:
        raise BadRequest("impersonation needs the header Impersonate-User")
    return wanted


def impersonate(authorizer: Authorizer, sender: UserInfo, wanted: Impersonation) -> UserInfo:
    """The user as whom a request runs.

    Raises:
        Forbidden: the sender may not be that user, in that group, or have that uid or extra value.
    """
    for attributes in _permissions(wanted):
        authorizer.check(sender, attributes)
    return UserInfo(
        wanted.user,
        tuple(_groups(wanted)),
        wanted.uid,
        {name: tuple(values) for name, values in wanted.extra.items()},
    )


def _permissions(wanted: Impersonation) -> Iterator[Attributes]:
    account = split_service_account(wanted.user)
    if account is not None:
        yield Attributes(
            "impersonate",
            resource="serviceaccounts",
            namespace=account.namespace,
            name=account.name,
        )
    else:
        yield Attributes("impersonate", resource="users", name=wanted.user)
    for group in wanted.groups:
        yield Attributes("impersonate", resource="groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Attributes("impersonate", _AUTHENTICATION, "userextras", key, name=value)
    if wanted.uid:
        yield Attributes("impersonate", _AUTHENTICATION, "uids", name=wanted.uid)


def _groups(wanted: Impersonation) -> list[str]:
    groups = list(wanted.groups)
    account = split_service_account(wanted.user)
    if not groups and account is not None:
        groups += service_account_groups(account.namespace)
    if wanted.user == ANONYMOUS_USER:
        return groups if UNAUTHENTICATED in groups else [*groups, UNAUTHENTICATED]
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return [*groups, AUTHENTICATED]
