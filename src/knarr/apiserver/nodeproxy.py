"""Pod logs from the node agent's HTTP API on its Unix socket."""

from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp
import msgspec

from knarr.apiserver.podlogs import LogOptions
from knarr.apiserver.request import Stream
from knarr.meta.errors import StatusError, Unavailable, error_from_status

_CONNECT_TIMEOUT_S = 2.0
_MAX_ERROR_BYTES = 4096


class NodeLogs:
    """``podlogs.PodLogs`` over ``run/node.sock``; an async context manager.

    Args:
        socket: of the node agent.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(str(self._socket), limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def open(self, namespace: str, pod: str, options: LogOptions) -> Stream:
        """Start reading a container's log (see ``PodLogs.open``)."""
        if self._session is None:
            raise Unavailable("the connection to the node agent is closed")
        url = f"http://node/v1/pods/{quote(namespace, safe='')}/{quote(pod, safe='')}/logs"
        try:
            response = await self._session.get(url, params=_query(options))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(
                f"the node agent cannot be reached at {self._socket}: {error}", retry_after_s=1
            ) from error
        if response.status != 200:
            raise await _refusal(response)
        return _LogStream(response)


def _query(options: LogOptions) -> dict[str, str]:
    query = {"container": options.container}
    flags = {
        "follow": options.follow,
        "previous": options.previous,
        "timestamps": options.timestamps,
    }
    numbers = {
        "tailLines": options.tail_lines,
        "sinceSeconds": options.since_seconds,
        "limitBytes": options.limit_bytes,
    }
    query |= {name: "true" for name, value in flags.items() if value}
    query |= {name: str(value) for name, value in numbers.items() if value is not None}
    if options.stream:
        query["stream"] = options.stream
    if options.since_time:
        query["sinceTime"] = options.since_time
    return query


async def _refusal(response: aiohttp.ClientResponse) -> StatusError:
    """The node agent's error: a Status document, or its text with the HTTP code."""
    async with response:
        try:
            body = await response.content.read(_MAX_ERROR_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            return Unavailable(f"the node agent's answer broke off: {error}")
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict) or "message" not in document:
        document = {"message": body.decode(errors="replace").strip() or f"HTTP {response.status}"}
    return error_from_status(document, response.status)


class _LogStream:
    """A log as it arrives; it ends when the node agent's answer ends or breaks."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next_chunks(self) -> list[bytes] | None:
        """The next piece."""
        try:
            chunk = await self._response.content.readany()
        except (aiohttp.ClientError, OSError):
            return None
        return [chunk] if chunk else None

    def end(self) -> None:
        """Give up the connection; the reader sees the end."""
        self._response.close()

    async def close(self) -> None:
        """Give up the connection."""
        self._response.close()
