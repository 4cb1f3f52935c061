"""One subscriber of one collection: a bounded queue that is closed rather than waited for."""

import asyncio
from collections import deque
from collections.abc import Callable

from knarr.store.records import Event

Interest = Callable[[Event], bool]


class Watcher:
    """Events of one collection, in order, from the moment of registration.

    The queue is bounded in events and bytes. When it is full the watcher is closed and its queue
    dropped: the client resumes from the last version that it saw, out of the history.
    """

    def __init__(
        self,
        namespace: str,
        name: str | None,
        interest: Interest | None,
        *,
        max_events: int,
        max_bytes: int,
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._interest = interest
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._queue: deque[Event] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self.closed = False
        self.overflowed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Watcher {self._namespace or '*'}/{self._name or '*'} {state} {len(self._queue)}>"

    def wants(self, event: Event) -> bool:
        """Whether an event is of an object that this watcher asked for."""
        key = event.key
        if self._namespace and key.namespace != self._namespace:
            return False
        if self._name is not None and key.name != self._name:
            return False
        return self._interest is None or self._interest(event)

    def offer(self, event: Event) -> None:
        """Queue an event that is wanted; never blocks."""
        if self.closed or not self.wants(event):
            return
        self._queue.append(event)
        self._bytes += len(event.data)
        if len(self._queue) > self._max_events or self._bytes > self._max_bytes:
            self.overflowed = True
            self.close(drop=True)
        else:
            self._wake()

    def close(self, *, drop: bool = False) -> None:
        """End the stream; what is queued is still delivered unless ``drop``."""
        self.closed = True
        if drop:
            self._queue.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next_batch(self, timeout_s: float) -> list[Event] | None:
        """Everything that is queued; waits up to ``timeout_s`` for the first event.

        Returns:
            The events, an empty list when the time is over, None when the stream has ended.
        """
        if not self._queue and not self.closed and timeout_s > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if not self._queue:
            return None if self.closed else []
        batch = list(self._queue)
        self._queue.clear()
        self._bytes = 0
        return batch
