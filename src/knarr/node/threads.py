"""Blocking work off the event loop, never left behind."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """Run ``function`` in a worker thread.

    Cancellation takes effect after the function has returned: what it makes is never made behind the back of
    whoever cleans up.
    """
    future = asyncio.get_running_loop().run_in_executor(None, function)
    await settled(future)
    return future.result()


async def settled(future: asyncio.Future[Any]) -> None:
    """Wait for a future, whatever its outcome; cancellation takes effect afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
