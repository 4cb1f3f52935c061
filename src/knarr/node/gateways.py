"""The agent's side of ``run/activate.sock``: sessions of data planes (``docs/protocol.md``)."""

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from knarr.dataplane.messages import (
    Activate,
    Activated,
    ActivationRefused,
    DataplaneToNode,
    Drain,
    Drained,
)
from knarr.kits.framing import FrameError, encode_frame, read_frame
from knarr.kits.tasks import TaskScope

LOG = logging.getLogger(__name__)
_MAX_FRAME_BYTES = 1024 * 1024
_MAX_ACTIVATIONS = 4096

Activator = Callable[[Activate], Awaitable[Activated | ActivationRefused]]


class _Session:
    """One connected data plane."""

    __slots__ = ("activations", "drains", "writer")

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.drains: dict[int, asyncio.Future[None]] = {}
        self.activations = 0


class GatewayServer:
    """Listens for data planes; answers activations, asks for drains.

    Answers are small and written whole; a data plane that does not read them is cut off by its socket
    buffer filling up, which ends the session.
    """

    def __init__(self, socket: Path) -> None:
        self._path = socket
        self._activate: Activator | None = None
        self._sessions: set[_Session] = set()
        self._ids = itertools.count(1)
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(DataplaneToNode)
        self._scope = TaskScope()

    @asynccontextmanager
    async def serving(self, activate: Activator) -> AsyncIterator[None]:
        """Listen within the context; ``activate`` answers."""
        self._activate = activate
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._serve, path=str(self._path))
        finally:
            os.umask(before)
        try:
            async with self._scope:
                yield
        finally:
            server.close()
            for session in tuple(self._sessions):
                session.writer.transport.abort()

    @property
    def connected(self) -> int:
        """How many data planes are connected."""
        return len(self._sessions)

    async def drain(self, revision: str, replica: str, timeout_s: float) -> None:
        """Ask every data plane to drain a replica and wait for all of them, or for the time to pass."""
        waiting = []
        for session in tuple(self._sessions):
            number = next(self._ids)
            future = asyncio.get_running_loop().create_future()
            session.drains[number] = future
            waiting.append(future)
            self._send(session, Drain(id=number, revision=revision, replica=replica))
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(writer)
        self._sessions.add(session)
        try:
            while (body := await read_frame(reader, max_bytes=_MAX_FRAME_BYTES)) is not None:
                self._handle(session, body)
        except msgspec.DecodeError as error:
            LOG.error("a data plane sent an unknown message: %s", error)  # noqa: TRY400 - not our fault
        except (FrameError, OSError) as error:
            LOG.info("a data plane's session broke: %s", error)
        finally:
            self._sessions.discard(session)
            for future in session.drains.values():
                _settle(future)
            writer.transport.abort()

    def _handle(self, session: _Session, body: bytes) -> None:
        message: DataplaneToNode = self._decoder.decode(body)
        match message:
            case Activate():
                if session.activations >= _MAX_ACTIVATIONS:
                    text = "too many activations at once"
                    refusal = ActivationRefused(
                        id=message.id, revision=message.revision, reason="Busy", message=text
                    )
                    self._send(session, refusal)
                    return
                session.activations += 1
                self._scope.start(
                    self._answer(session, message), name=f"activate-{message.revision}"
                )
            case Drained():
                future = session.drains.pop(message.id, None)
                if future is not None:
                    _settle(future)

    async def _answer(self, session: _Session, message: Activate) -> None:
        assert self._activate is not None, "sessions exist only within serving()"
        try:
            self._send(session, await self._activate(message))
        finally:
            session.activations -= 1

    def _send(self, session: _Session, message: Activated | ActivationRefused | Drain) -> None:
        if session in self._sessions and not session.writer.transport.is_closing():
            session.writer.write(encode_frame(self._encoder.encode(message)))


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
