import asyncio
import random

import pytest

from knarr.kube.workqueue import WorkQueue
from knarr.meta.objects import Key

A, B = Key("ns", "a"), Key("ns", "b")


def make() -> WorkQueue:
    return WorkQueue(random.Random(1))


async def test_a_key_waits_once_however_often_it_is_added():
    queue = make()
    for _ in range(5):
        queue.add(A)
    queue.add(B)

    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == [A, B]
    assert queue.statistics().processing == 2


async def test_a_key_added_while_it_is_worked_on_comes_again_only_when_it_is_done():
    queue = make()
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.add(A)

    second = asyncio.get_running_loop().create_task(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    queue.done(A)

    assert await second == A
    queue.done(A)
    assert queue.idle


async def test_done_without_get_is_a_bug_and_says_so():
    with pytest.raises(KeyError):
        make().done(A)


async def test_cancelling_a_waiting_worker_loses_no_key():
    queue = make()
    waiters = [asyncio.get_running_loop().create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add(A)
    waiters[0].cancel()

    assert await waiters[1] == A


def test_a_delay_passes_before_a_key_is_added(fake_time):
    async def story():
        queue, loop = make(), asyncio.get_running_loop()
        started = loop.time()
        queue.add_after(A, 30.0)
        assert queue.statistics().delayed == 1
        assert await queue.get() == A
        return loop.time() - started

    assert fake_time(story()) == pytest.approx(30.0)


def test_of_two_delays_the_earlier_stands(fake_time):
    async def story():
        queue, loop = make(), asyncio.get_running_loop()
        started = loop.time()
        queue.add_after(A, 60.0)
        queue.add_after(A, 10.0)
        queue.add_after(A, 20.0)
        await queue.get()
        queue.done(A)
        first = loop.time() - started
        await asyncio.sleep(100)
        return first, queue.idle

    first, idle = fake_time(story())
    assert first == pytest.approx(10.0)
    assert idle, "the other timers were replaced, not kept"


def test_retries_back_off_from_5_ms_to_16_minutes_and_start_over_after_success(fake_time):
    async def story():
        queue = make()
        delays = [queue.retry(A) for _ in range(20)]
        queue.forget(A)
        return delays, queue.retry(A)

    delays, after_success = fake_time(story())
    assert delays[:3] == [0.005, 0.01, 0.02]
    assert delays[-1] == 960.0
    assert after_success == 0.005


def test_a_retry_waits_at_least_as_long_as_the_server_asked(fake_time):
    async def story():
        queue, loop = make(), asyncio.get_running_loop()
        started = loop.time()
        queue.retry(A, at_least_s=7.0)
        await queue.get()
        return loop.time() - started

    assert fake_time(story()) == pytest.approx(7.0)


def test_closing_cancels_timers_and_keeps_keys(fake_time):
    async def story():
        queue = make()
        queue.add(A)
        queue.add_after(B, 1.0)
        queue.close()
        await asyncio.sleep(5)
        return queue.statistics()

    statistics = fake_time(story())
    assert (statistics.ready, statistics.delayed) == (1, 0)
