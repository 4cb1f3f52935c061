"""The terminal that a command runs in: raw mode, its size, its input as it is typed."""

import asyncio
import fcntl
import os
import signal
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_READ_BYTES = 32 * 1024
_BLOCKS = 4
_SIZE = struct.Struct("HHHH")


@contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Pass keys on untouched, Ctrl-C included, until the end."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def terminal_size(descriptor: int) -> tuple[int, int]:
    """Width and height in characters."""
    packed = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, b"\0" * _SIZE.size)
    height, width, _, _ = _SIZE.unpack(packed)
    return width, height


@contextmanager
def size_changes(changed: Callable[[], None]) -> Iterator[None]:
    """Have ``changed`` called from the event loop whenever the terminal's size changes."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


class InputReader:
    """Reads a descriptor, a file as well as a terminal, in a thread that does not outlive the program.

    At most 128 KiB wait: then the thread does.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._blocks: asyncio.Queue[bytes] = asyncio.Queue(_BLOCKS)

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="input", daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except OSError:
                data = b""
            try:
                put = asyncio.run_coroutine_threadsafe(self._blocks.put(data), self._loop)
                put.result()
            except (RuntimeError, asyncio.CancelledError):
                return
            if not data:
                return

    async def read(self) -> bytes:
        """The next block; empty at the end."""
        return await self._blocks.get()
