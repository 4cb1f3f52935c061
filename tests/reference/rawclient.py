"""HTTP with nothing between: what was sent and what came back, header by header."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

USER_AGENT = "differential/1"
TIMEOUT_S = 40.0


@dataclass(frozen=True)
class Answer:
    """One response; ``document`` is the JSON body, None when it is none."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def document(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class RawClient:
    """Requests on one kept connection; watches on their own."""

    def __init__(self, url: str, tls: ssl.SSLContext, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._tls, self._token = tls, token
        self._connection = self._open()

    def _open(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self._host, self._port, context=self._tls, timeout=TIMEOUT_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        defaults = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        if self._token:
            defaults["Authorization"] = f"Bearer {self._token}"
        merged = {**defaults, **headers}
        return {name: value for name, value in merged.items() if value != ""}

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """One request; an empty header value removes a default. A connection that the server closed
        is opened again."""
        for attempt in range(2):
            try:
                self._connection.request(method, path, body, self._headers(headers))
                response = self._connection.getresponse()
                return Answer(response.status, tuple(response.getheaders()), response.read())
            except (http.client.RemoteDisconnected, BrokenPipeError):
                self._connection.close()
                if attempt:
                    raise
        raise AssertionError("unreachable")

    def watch(
        self, path: str, headers: Mapping[str, str] = {}, *, events: int, wait_s: float
    ) -> Answer:
        """A watch's first events as one body, a JSON array; fewer when no more come in time."""
        connection = self._open()
        try:
            connection.request("GET", path, None, self._headers(headers))
            response = connection.getresponse()
            head = tuple(response.getheaders())
            if response.status != 200:
                return Answer(response.status, head, response.read())
            found: list[Any] = []
            if connection.sock is not None:
                connection.sock.settimeout(wait_s)
            try:
                while len(found) < events and (line := response.readline()):
                    found.append(json.loads(line))
            except TimeoutError:
                pass
            return Answer(200, head, json.dumps(found).encode())
        finally:
            connection.close()
