"""Pipes and terminals read and written by tasks, one block at a time: nothing is buffered here."""

import asyncio
import os
from collections.abc import Callable

READ_BYTES = 32 * 1024


class PipeReader:
    """Reads a descriptor and owns it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def read(self) -> bytes:
        """The next block; empty at the end."""
        while (data := self.read_now()) is None:
            loop = asyncio.get_running_loop()
            await _ready(self._descriptor, loop.add_reader, loop.remove_reader)
        return data

    def read_now(self) -> bytes | None:
        """What is there; empty at the end, None when there is nothing now."""
        if self._descriptor < 0:
            return b""
        try:
            return os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            # A terminal whose other side is closed by everybody says EIO.
            return b""

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class PipeWriter:
    """Writes to a descriptor and owns it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def write(self, data: bytes) -> bool:
        """Write everything; waits while the reader is slow. False when nobody reads any more."""
        view = memoryview(data)
        while view:
            if self._descriptor < 0:
                return False
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await _ready(self._descriptor, loop.add_writer, loop.remove_writer)
            except OSError:
                return False
        return True

    def close(self) -> None:
        """The reader sees the end. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def _ready(
    descriptor: int, add: Callable[..., object], remove: Callable[[int], object]
) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(descriptor, _settle, ready)
    try:
        await ready
    finally:
        remove(descriptor)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
