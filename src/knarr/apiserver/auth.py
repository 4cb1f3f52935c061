"""Whether a request may come at all.

Over the Unix socket the administrator is known by the peer's uid; over TLS everybody proves who they are
(``authentication``). Requests that a web page could make a browser send (a foreign Host or Origin) are
refused before anything else.
"""

import os
import socket
import struct
from collections.abc import Iterable
from urllib.parse import urlsplit

from knarr.apiserver.authentication.names import (
    ANONYMOUS_USER,
    AUTHENTICATED,
    MASTERS,
    UNAUTHENTICATED,
)
from knarr.meta.errors import Forbidden, Unauthorized
from knarr.resources.kind import UserInfo

ADMIN = UserInfo("system:admin", (MASTERS, AUTHENTICATED))
ANONYMOUS = UserInfo(ANONYMOUS_USER, (UNAUTHENTICATED,))
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


def is_open(path: str) -> bool:
    """Whether a path is for everybody, whatever roles say: health and version."""
    return path.rstrip("/") in OPEN_PATHS or path.startswith(("/livez/", "/readyz/"))


def authorize_path(user: UserInfo | None, path: str) -> UserInfo:
    """The user of a request; without one only health and version are open.

    Raises:
        Unauthorized: nobody proved who they are.
    """
    if user is not None:
        return user
    if is_open(path):
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
