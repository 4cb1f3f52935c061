import asyncio

import pytest

from knarr.kits.tasks import TaskScope


async def forever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def test_tasks_end_with_the_body():
    ended: list[str] = []
    async with TaskScope() as scope:
        scope.start(forever(ended), name="loop")
        await asyncio.sleep(0)

    assert ended == ["ended"]


async def test_an_error_of_the_body_passes_through_unwrapped():
    ended: list[str] = []

    async def own() -> None:
        async with TaskScope() as scope:
            scope.start(forever(ended), name="loop")
            await asyncio.sleep(0)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        await own()
    assert ended == ["ended"]


async def test_a_task_that_fails_ends_the_body_and_surfaces():
    ended: list[str] = []

    async def fail() -> None:
        raise LookupError("lost")

    async def own() -> None:
        async with TaskScope() as scope:
            scope.start(forever(ended), name="loop")
            await asyncio.sleep(0)
            scope.start(fail(), name="bad")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await own()
    assert raised.value.subgroup(LookupError) is not None
    assert ended == ["ended"]


async def test_cancelling_the_owner_cancels_the_tasks_and_is_not_swallowed():
    ended: list[str] = []
    entered = asyncio.Event()

    async def own() -> None:
        async with TaskScope() as scope:
            scope.start(forever(ended), name="loop")
            await asyncio.sleep(0)
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(own())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended"]


async def test_one_task_can_be_stopped_before_the_others():
    ended: list[str] = []
    async with TaskScope() as scope:
        stop = scope.start_stoppable(forever(ended), name="one")
        scope.start(forever(ended), name="other")
        await asyncio.sleep(0)
        stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ended == ["ended"]
        stop()
    assert ended == ["ended", "ended"]
