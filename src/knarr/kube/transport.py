"""The border between controllers and an API: requests in the shape of HTTP, without HTTP's machinery.

Two transports exist: ``knarr.apiserver.inprocess`` calls the embedded API server's handler, and
``knarr.kube.http`` speaks HTTP to any API server. Both pass the same contract suite. Controllers never
see a transport; they hold a ``knarr.kube.client.Client``.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class Transport(Protocol):
    """Sends one request to an API server."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
    ) -> bytes:
        """The response body of a 2xx.

        Raises:
            StatusError: the server refused; the subclass tells why.
            Unavailable: the server could not be reached.
        """
        ...

    def watch(
        self, path: str, *, query: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A stream of encoded watch events, one JSON document ``{"type", "object"}`` per item.

        The iterator ends when the server ends the stream; leaving the context closes it.

        Raises:
            StatusError: as ``request``.
        """
        ...
