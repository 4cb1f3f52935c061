"""Background tasks of a component: they live as long as the component's context, never longer.

``asyncio.TaskGroup`` waits for its tasks when the body ends. A component's loops never end by themselves,
so ``TaskScope`` cancels them first. What it keeps of the group: a task that fails cancels the body, and the
failure surfaces from the context as an ``ExceptionGroup``.
"""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any


class TaskScope:
    """A task group whose tasks are cancelled and awaited when its body ends.

    Enter and leave it in the same task. An exception of the body passes through unwrapped.
    """

    __slots__ = ("_group", "_tasks")

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "TaskScope":
        await self._group.__aenter__()
        return self

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run ``work`` until it ends or the scope does.

        Raises:
            RuntimeError: the scope was not entered or is closing.
        """
        self.start_stoppable(work, name=name)

    def start_stoppable(self, work: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        """As ``start``; what is returned ends the work before."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def stop() -> None:
            task.cancel()

        return stop

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, traceback)
        else:
            await self._group.__aexit__(None, None, None)
