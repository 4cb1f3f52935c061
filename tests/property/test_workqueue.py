"""No wake-up is lost, no key has two owners, whatever the order of additions, work and time."""

import asyncio
import random

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from knarr.kube.workqueue import WorkQueue
from knarr.meta.objects import Key

KEYS = st.sampled_from([Key("ns", name) for name in "abcd"])
DELAYS = st.integers(1, 50)


class QueueModel(RuleBasedStateMachine):
    """``owed`` are the keys that were added since they were handed out last."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop()
        self.queue = WorkQueue(random.Random(0))
        self.owed: set[Key] = set()
        self.processing: set[Key] = set()
        self.timers: dict[Key, float] = {}
        self.failures: dict[Key, int] = {}
        self.now = 0.0

    def on_loop(self, act):
        async def run():
            return act()

        return self.loop.run_until_complete(run())

    @rule(key=KEYS)
    def add(self, key):
        self.queue.add(key)
        self.owed.add(key)

    @rule(key=KEYS, delay=DELAYS)
    def add_after(self, key, delay):
        self.on_loop(lambda: self.queue.add_after(key, float(delay)))
        when = self.now + delay
        self.timers[key] = min(when, self.timers.get(key, when))

    @rule(key=KEYS, at_least=DELAYS)
    def retry(self, key, at_least):
        attempt = self.failures.get(key, 0)
        self.failures[key] = attempt + 1
        delay = max(float(at_least), min(960.0, 0.005 * 2**attempt))
        assert self.on_loop(lambda: self.queue.retry(key, float(at_least))) == delay
        when = self.now + delay
        self.timers[key] = min(when, self.timers.get(key, when))

    @rule(key=KEYS)
    def forget(self, key):
        self.queue.forget(key)
        self.failures.pop(key, None)

    @precondition(lambda self: self.owed - self.processing)
    @rule()
    def get(self):
        key = self.loop.run_until_complete(self.queue.get())
        assert key in self.owed, "nobody asked for it"
        assert key not in self.processing, "somebody has it"
        self.owed.remove(key)
        self.processing.add(key)

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data):
        key = data.draw(st.sampled_from(sorted(self.processing)))
        self.queue.done(key)
        self.processing.remove(key)

    @rule(seconds=DELAYS)
    def time_passes(self, seconds):
        # Half a second more, so that no timer is due at the very moment of looking.
        self.loop.run_until_complete(asyncio.sleep(seconds + 0.5))
        self.now += seconds + 0.5
        for key, when in list(self.timers.items()):
            if when <= self.now:
                del self.timers[key]
                self.owed.add(key)

    @invariant()
    def the_counts_agree(self):
        statistics = self.queue.statistics()
        assert statistics.ready == len(self.owed)
        assert statistics.processing == len(self.processing)
        assert statistics.delayed == len(self.timers)
        assert statistics.failing == len(self.failures)

    def teardown(self):
        for key in sorted(self.processing):
            self.queue.done(key)
        self.processing.clear()
        while self.owed:
            self.get()
        self.queue.close()
        self.loop.close()


QueueModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueue = QueueModel.TestCase
