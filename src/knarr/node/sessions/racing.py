"""Work that ends together."""

import asyncio
from collections.abc import Awaitable, Callable

from knarr.kits.tasks import TaskScope
from knarr.node.sessions.link import ServerGone

Work = Callable[[], Awaitable[None]]


async def first_of(*works: Work) -> None:
    """Run all until one has ended, which the server's going is too; the others are cancelled."""
    ended = asyncio.Event()

    async def one(work: Work) -> None:
        try:
            await work()
        except* ServerGone:
            pass
        finally:
            ended.set()

    async with TaskScope() as scope:
        for number, work in enumerate(works):
            scope.start(one(work), name=f"session-{number}")
        await ended.wait()
