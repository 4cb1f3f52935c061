"""Watches an application's port from the moment it is released, in steps well under a millisecond.

The event loop's timers have a resolution of a millisecond, which would be a tenth of a cold start; a timerfd
has not.
"""

import asyncio
import ctypes
import os
import socket
import struct
from collections.abc import Callable

from knarr.kits.clock import Clock

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLOCK_MONOTONIC = 1
_STEP_S = 0.0003
_SLOW_STEP_S = 0.005
_FAST_PHASE_S = 0.1


class FineTimer:
    """Sleeps for fractions of a millisecond; close it after use."""

    __slots__ = ("_descriptor", "_loop", "_waiter")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._descriptor = _LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "timerfd_create")
        self._loop.add_reader(self._descriptor, self._fired)

    def _fired(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Wait; one caller at a time."""
        nanoseconds = max(1, int(seconds * 1e9))
        value = struct.pack("qqqq", 0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
        self._waiter = self._loop.create_future()
        if _LIBC.timerfd_settime(self._descriptor, 0, value, None) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "timerfd_settime")
        await self._waiter

    def close(self) -> None:
        """Release the descriptor."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)


async def wait_for_port(
    address: str, port: int, clock: Clock, deadline: float, alive: Callable[[], bool]
) -> bool:
    """Return True as soon as the port accepts a connection, False when ``alive`` does not hold.

    Args:
        address: of the sandbox.
        port: of the application.
        clock: for the deadline.
        deadline: monotonic seconds.
        alive: whether the application still runs.

    Raises:
        TimeoutError: nobody listens at the deadline.
    """
    timer = FineTimer()
    begun = clock.monotonic()
    try:
        while alive():
            if await _accepts(address, port, timer):
                return True
            now = clock.monotonic()
            if now >= deadline:
                raise TimeoutError(f"nobody listens on port {port}")
            await timer.sleep(_STEP_S if now - begun < _FAST_PHASE_S else _SLOW_STEP_S)
    finally:
        timer.close()
    return False


async def _accepts(address: str, port: int, timer: FineTimer) -> bool:
    """One attempt. Across a veth pair the answer is there when connect returns, or one tick later."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as attempt:
        code = attempt.connect_ex((address, port))
        for _ in range(3):
            if code == 0:
                return True
            failure = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                return False
            if _connected(attempt):
                return True
            await timer.sleep(_STEP_S)
        return False


def _connected(attempt: socket.socket) -> bool:
    try:
        attempt.getpeername()
    except OSError:
        return False
    return True
