"""Names of users and groups that have a meaning of their own (``apiserver/pkg/authentication``)."""

from knarr.meta.names import dns1123_label_problems, dns1123_subdomain_problems
from knarr.meta.objects import Key

MASTERS = "system:masters"
"""The group whose members may do everything."""
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
ANONYMOUS_USER = "system:anonymous"
_PREFIX = "system:serviceaccount:"


def service_account_name(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of every service account of a namespace, without ``system:authenticated``."""
    return (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")


def split_service_account(user: str) -> Key | None:
    """The service account that a user name stands for, None when it is another kind of user."""
    if not user.startswith(_PREFIX):
        return None
    parts = user.removeprefix(_PREFIX).split(":")
    if len(parts) != 2:
        return None
    namespace, name = parts
    if dns1123_label_problems(namespace) or dns1123_subdomain_problems(name):
        return None
    return Key(namespace, name)
