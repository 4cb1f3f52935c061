import asyncio

import looptime
import pytest
from tests.unit.serving.world import World


@pytest.fixture
def story():
    """Runs a coroutine function on a fresh world, on a loop whose time jumps."""

    def run(tell):
        async def within():
            async with World() as world:
                await tell(world)

        with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
            runner.run(within())

    return run
