"""Small synchronous HTTP requests to the processes' Unix sockets and loopback ports."""

import http.client
import socket
from pathlib import Path

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """A whole response."""

    status: int
    body: bytes


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get_unix(path: Path, target: str, timeout_s: float = 2.0) -> Reply | None:
    """GET over a Unix socket; None when nobody answers."""
    return _ask(_UnixConnection(path, timeout_s), target)


def post_unix(path: Path, target: str, timeout_s: float) -> Reply | None:
    """POST without a body over a Unix socket; None when nobody answers."""
    return _ask(_UnixConnection(path, timeout_s), target, "POST")


def get_tcp(host: str, port: int, target: str, timeout_s: float = 2.0) -> Reply | None:
    """GET over TCP; None when nobody answers."""
    return _ask(http.client.HTTPConnection(host, port, timeout=timeout_s), target)


def _ask(connection: http.client.HTTPConnection, target: str, method: str = "GET") -> Reply | None:
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return Reply(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
