"""The shell: when it decides, and what sleeps."""

import asyncio

import looptime
import pytest

from knarr.dataplane import messages
from knarr.kits.clock import ManualClock
from knarr.meta.objects import Key
from knarr.serving.autoscaler.autoscaler import KEPT_DECISIONS, Autoscaler
from knarr.serving.autoscaler.decider import DeciderSpec
from knarr.serving.autoscaler.policy import Policy

KEY = Key("default", "hello-00001")
POLICY = Policy(decider=DeciderSpec(stable_window_s=6, target=1, total=1), panic_window_s=1)


class World:
    def __init__(self):
        self.clock = ManualClock()
        self.replicas = 0
        self.gateways = 1
        self.changes = []
        self.autoscaler = Autoscaler(self.clock, lambda _: self.replicas, lambda: self.gateways)
        self.autoscaler.on_change(self.changes.append)

    def desired(self):
        return self.autoscaler.track(KEY, POLICY).desired

    def traffic(self, concurrency, queued=0):
        item = messages.RevisionStats(
            revision=str(KEY), concurrency=concurrency, requests=1, queued=queued
        )
        self.autoscaler.reported(messages.Stats(interval_ms=1000, revisions=(item,)))

    def seconds(self, count):
        for _ in range(count):
            self.clock.advance(1)
            self.autoscaler.tick()


@pytest.fixture
def world():
    return World()


def test_demand_at_zero_decides_at_once(world):
    assert world.desired() == -1
    world.seconds(2)
    assert world.desired() == 0
    world.changes.clear()
    world.autoscaler.demanded(messages.Demand(revision=str(KEY), queued=1))
    assert world.changes == [KEY]
    assert world.desired() == 1


def test_repeated_demand_changes_nothing_once_one_is_wanted(world):
    world.desired()
    world.seconds(2)
    for _ in range(3):
        world.autoscaler.demanded(messages.Demand(revision=str(KEY), queued=1))
    assert world.changes == [KEY, KEY]


def test_without_a_gateway_there_is_no_decision(world):
    world.gateways = 0
    world.desired()
    world.seconds(10)
    assert world.desired() == -1


def test_a_revision_at_zero_sleeps_until_something_happens(world):
    world.desired()
    world.seconds(5)
    made = len(world.autoscaler.decisions(KEY))
    world.seconds(100)
    assert len(world.autoscaler.decisions(KEY)) == made
    assert world.autoscaler.awake == 0
    world.traffic(3)
    assert world.desired() >= 1


def test_waiting_requests_are_decided_on_without_a_tick(world):
    world.replicas = 1
    world.desired()
    world.traffic(1)
    world.seconds(1)
    assert world.desired() == 1
    world.traffic(9, queued=8)
    assert world.desired() > 1


def test_idle_goes_to_zero_after_the_window(world):
    world.replicas = 1
    world.desired()
    world.traffic(1)
    for _ in range(5):
        world.seconds(1)
        assert world.desired() == 1
    world.seconds(2)
    assert world.desired() == 0


def test_decisions_are_kept_with_their_inputs_and_bounded(world):
    world.replicas = 1
    world.desired()
    for round_ in range(200):
        world.traffic(1 + 5 * (round_ % 2))
        world.seconds(1)
    kept = world.autoscaler.decisions(KEY)
    assert 0 < len(kept) <= KEPT_DECISIONS
    assert kept[-1].observation.ready == 1
    world.autoscaler.forget(KEY)
    assert world.autoscaler.decisions(KEY) == ()


def test_the_tick_is_two_seconds():
    async def watch():
        world = World()
        world.desired()
        async with world.autoscaler:
            await asyncio.sleep(1.9)
            assert world.desired() == -1
            await asyncio.sleep(0.2)
            assert world.desired() == 0

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(watch())
