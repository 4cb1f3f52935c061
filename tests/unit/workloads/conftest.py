import asyncio

import looptime
import pytest


@pytest.fixture
def fake_time():
    """Runs a story on an event loop whose time jumps to the next timer as soon as nothing else runs."""

    def run(story):
        with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
            return runner.run(story)

    return run
