"""Many requests at once, carefully."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from knarr.meta.errors import StatusError

_LARGEST_BATCH = 64

Step = Callable[[], Awaitable[None]]


async def in_batches(steps: Sequence[Step]) -> list[StatusError]:
    """Run steps in batches of 1, 2, 4, … at once; after a refusal no further batch starts.

    When something refuses all Pods (a quota, a bad template) one attempt finds out, not a hundred.

    Returns:
        The refusals; empty when everything was done.
    """
    refusals: list[StatusError] = []

    async def run(step: Step) -> None:
        try:
            await step()
        except StatusError as error:
            refusals.append(error)

    start, size = 0, 1
    while start < len(steps) and not refusals:
        async with asyncio.TaskGroup() as group:
            for step in steps[start : start + size]:
                group.create_task(run(step))
        start, size = start + size, min(_LARGEST_BATCH, size * 2)
    return refusals
