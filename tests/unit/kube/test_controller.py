import asyncio
import logging
import random

import pytest

from knarr.kits.clock import ManualClock
from knarr.kube.controller import DONE, Controller, Result
from knarr.meta.errors import Conflict, Invalid, Terminal, TooManyRequests
from knarr.meta.objects import Key

KEY = Key("ns", "a")


class Script:
    """A reconciler that plays outcomes and writes down when it was called."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.calls: list[float] = []
        self.running = self.most_running = 0

    async def reconcile(self, key):
        self.calls.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0.001)
        finally:
            self.running -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else DONE
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def controller_of(script, **arguments) -> Controller:
    return Controller("test", script, clock=ManualClock(), rng=random.Random(3), **arguments)


def play(fake_time, *outcomes, seconds=1.0, **arguments):
    """Enqueue one key, let the script run for a while; the gaps between calls and the statistics."""
    script = Script(*outcomes)

    async def story():
        controller = controller_of(script, **arguments)
        async with controller:
            controller.enqueue(KEY)
            await asyncio.sleep(seconds)
            return controller.statistics()

    statistics = fake_time(story())
    gaps = [later - earlier for earlier, later in zip(script.calls, script.calls[1:], strict=False)]
    return gaps, statistics


def test_done_waits_for_the_next_event(fake_time):
    gaps, statistics = play(fake_time, DONE)

    assert gaps == []
    assert (statistics.reconciles, statistics.errors) == (1, 0)


def test_a_result_with_a_time_comes_back_then(fake_time):
    gaps, _ = play(fake_time, Result(30.0), DONE, seconds=100)

    assert gaps == [pytest.approx(30.0, abs=0.01)]


def test_a_conflict_is_tried_again_quickly_and_is_no_error(fake_time):
    gaps, statistics = play(fake_time, Conflict("stale"), DONE)

    assert gaps == [pytest.approx(0.006, abs=0.002)]
    assert (statistics.conflicts, statistics.errors) == (1, 0)


def test_terminal_is_not_tried_again(fake_time, caplog):
    caplog.set_level(logging.INFO)
    gaps, statistics = play(fake_time, Terminal("Bad", "fix it"), seconds=10_000)

    assert gaps == []
    assert statistics.terminal == 1
    assert "test ns/a: Bad: fix it" in caplog.text


def test_failures_back_off_and_success_resets(fake_time):
    gaps, statistics = play(fake_time, Invalid("no"), Invalid("no"), Invalid("no"), DONE)

    assert gaps == [pytest.approx(0.001 + 0.005 * 2**n, abs=0.001) for n in range(3)]
    assert statistics.errors == 3


def test_retry_after_is_respected(fake_time):
    gaps, _ = play(fake_time, TooManyRequests("slow down", retry_after_s=9), DONE, seconds=60)

    assert gaps == [pytest.approx(9.0, abs=0.01)]


def test_a_bug_is_logged_whole_under_an_id_and_tried_again(fake_time, caplog):
    gaps, statistics = play(fake_time, ZeroDivisionError("oops"), DONE)

    assert len(gaps) == 1
    assert statistics.errors == 1
    assert "fault " in caplog.text
    assert "ZeroDivisionError: oops" in caplog.text


def test_a_pass_that_hangs_is_ended_and_tried_again(fake_time):
    class Hangs(Script):
        async def reconcile(self, key):
            self.calls.append(0)
            if len(self.calls) == 1:
                await asyncio.Event().wait()
            return DONE

    script = Hangs()

    async def story():
        controller = controller_of(script, timeout_s=20.0)
        async with controller:
            controller.enqueue(KEY)
            await asyncio.sleep(60)
            return controller.statistics()

    assert fake_time(story()).errors == 1
    assert len(script.calls) == 2


def test_one_key_never_has_two_workers_and_many_keys_do(fake_time):
    script = Script()

    async def story():
        controller = controller_of(script, workers=4)
        async with controller:
            for _ in range(20):
                controller.enqueue(KEY)
                await asyncio.sleep(0.0003)
            alone = script.most_running
            for number in range(10):
                controller.enqueue(Key("ns", str(number)))
            await asyncio.sleep(1)
            return alone

    assert fake_time(story()) == 1
    assert script.most_running == 4


def test_leaving_the_context_ends_the_workers(fake_time):
    async def story():
        controller = controller_of(Script())
        async with controller:
            assert controller.ready
        return controller.ready, len(asyncio.all_tasks())

    assert fake_time(story()) == (False, 1)
