"""Who a request comes from, and whether it may come at all.

There is one identity: the administrator of this machine's Knarr. Over TLS it is proved by a bearer
token, over the Unix socket by the peer's uid. Requests that a web page could make a browser send (a
foreign Host or Origin) are refused before anything else.
"""

import hashlib
import hmac
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from knarr.meta.errors import Forbidden, Unauthorized
from knarr.resources.kind import UserInfo

ADMIN = UserInfo("system:admin", ("system:masters", "system:authenticated"))
ANONYMOUS = UserInfo("system:anonymous", ("system:unauthenticated",))
LOCAL_HOSTS = (
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
_PEER = struct.Struct("3i")


class TokenAuthenticator:
    """Bearer tokens; only their digests are kept."""

    def __init__(self, tokens: Mapping[str, UserInfo]) -> None:
        self._users = [(_digest(token), user) for token, user in tokens.items()]

    def authenticate(self, authorization: str) -> UserInfo | None:
        """The user behind an Authorization header, None when it proves nobody."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        presented = _digest(token.strip())
        found = None
        for digest, user in self._users:
            if hmac.compare_digest(digest, presented):
                found = user
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def authorize_path(user: UserInfo | None, path: str) -> UserInfo:
    """The user of a request; without one only health and version are open.

    Raises:
        Unauthorized: nobody proved who they are.
    """
    if user is not None:
        return user
    if path.rstrip("/") in OPEN_PATHS or path.startswith(("/livez/", "/readyz/")):
        return ANONYMOUS
    raise Unauthorized("Unauthorized")


class HostCheck:
    """Lets only requests through that were meant for this server.

    A web page whose name suddenly resolves to this machine (DNS rebinding) still sends its own Host;
    a page that sends requests across origins sends its Origin.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    def check(self, host: str, origin: str) -> None:
        """Compare the headers; an empty Origin is fine.

        Raises:
            Forbidden: a foreign Host or Origin.
        """
        name = _host_name(host)
        if name not in self._hosts:
            raise Forbidden(
                f"the Host header {host!r} does not name this server: allowed are "
                f"{', '.join(sorted(self._hosts))}"
            )
        if not origin or origin in self._origins:
            return
        if not _same_origin(origin, host):
            raise Forbidden(f"requests from the origin {origin!r} are not allowed")


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _host_name(host: str) -> str:
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process at the other end of a Unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(raw)
    return int(uid)


def authenticate_peer(connection: socket.socket) -> UserInfo | None:
    """The administrator when the peer is root or runs as this server's user."""
    return ADMIN if peer_uid(connection) in (0, os.geteuid()) else None
