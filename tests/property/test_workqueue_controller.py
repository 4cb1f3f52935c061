"""Level-triggered controllers over the queue end up having seen the last state of every key."""

import asyncio
import random

import looptime
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.kits.clock import ManualClock
from knarr.kube.controller import DONE, Controller, Result
from knarr.meta.errors import Conflict, Unavailable
from knarr.meta.objects import Key

EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.001, 0.02])), min_size=1, max_size=30
)


class Copies:
    """Reads the world slowly, sometimes fails, and writes down what it read."""

    def __init__(self, world: dict[Key, int], rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.seen: dict[Key, int] = {}
        self.busy: set[Key] = set()

    async def reconcile(self, key: Key) -> Result:
        assert key not in self.busy
        self.busy.add(key)
        try:
            value = self.world[key]
            await asyncio.sleep(self.rng.choice([0, 0.003]))
            match self.rng.randrange(5):
                case 0:
                    raise Conflict("stale")
                case 1:
                    raise Unavailable("away")
            self.seen[key] = value
            return DONE
        finally:
            self.busy.discard(key)


@given(events=EVENTS, workers=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_last_state_is_seen(events, workers, seed):
    rng = random.Random(seed)
    world: dict[Key, int] = {}
    copies = Copies(world, rng)

    async def story():
        controller = Controller("test", copies, clock=ManualClock(), rng=rng, workers=workers)
        async with controller:
            for name, pause in events:
                key = Key("ns", name)
                world[key] = world.get(key, 0) + 1
                controller.enqueue(key)
                await asyncio.sleep(pause)
            await asyncio.sleep(3600)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(story())
    assert copies.seen == world
