"""``kube.transport.Transport`` without a network: controllers call the handler directly."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from knarr.apiserver.handler import Handler
from knarr.apiserver.request import ApiRequest, Stream
from knarr.apiserver.routing import NoSuchPath
from knarr.kube.transport import JSON
from knarr.meta.errors import NotFound, StatusError
from knarr.resources.kind import UserInfo

_NO_QUERY: Mapping[str, str] = {}
_USER_AGENT = "knarr"


class InProcessTransport:
    """Sends requests to a handler of this process, as one user.

    Bodies count as made by our own encoders: they are not searched for duplicate or unknown fields.
    """

    def __init__(self, handler: Handler, user: UserInfo) -> None:
        self._handler = handler
        self._user = user

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
    ) -> bytes:
        """The response body of a 2xx (see ``Transport.request``)."""
        request = ApiRequest(
            method,
            path,
            self._user,
            query=query or _NO_QUERY,
            body=body or b"",
            content_type=content_type,
            user_agent=_USER_AGENT,
            trusted=True,
        )
        try:
            response = await self._handler.dispatch(request)
        except NoSuchPath:
            raise _no_such_path() from None
        return response.body

    def watch(
        self, path: str, *, query: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A stream of watch events (see ``Transport.watch``)."""
        return self._watch(path, query)

    @asynccontextmanager
    async def _watch(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        request = ApiRequest(
            "GET", path, self._user, query={**query, "watch": "true"}, trusted=True
        )
        try:
            response = await self._handler.dispatch(request)
        except NoSuchPath:
            raise _no_such_path() from None
        stream = response.stream
        if stream is None:
            raise StatusError(f"{path} did not answer with a stream")
        try:
            yield _lines(stream)
        finally:
            await stream.close()


async def _lines(stream: Stream) -> AsyncIterator[bytes]:
    while (chunks := await stream.next_chunks()) is not None:
        for chunk in chunks:
            yield chunk


def _no_such_path() -> NotFound:
    return NotFound("the server could not find the requested resource")
