"""The queue between events and reconcilers: keys, each at most once, never two workers on one key.

A key that is added while it waits is not added again; a key that is added while a worker has it is
queued again when the worker is done with it, so no wake-up is lost. Delays are timers of the event loop.
The queue is bounded by the number of distinct keys, that is of objects that exist or just ceased to;
nothing is ever dropped.
"""

import asyncio
import random
from dataclasses import dataclass

from knarr.kits.backoff import Backoff
from knarr.meta.objects import Key

RETRY = Backoff(initial_s=0.005, max_s=960.0)
"""5 ms, doubled per failure, at most 16 minutes (client-go's default item back-off)."""


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """Keys by where they are now.

    Attributes:
        ready: waiting for a worker.
        processing: a worker has them.
        delayed: a timer will add them.
        failing: last attempt failed.
    """

    ready: int
    processing: int
    delayed: int
    failing: int


class WorkQueue:
    """De-duplicating queue with delays and per-key back-off; for one event loop."""

    __slots__ = (
        "_again",
        "_backoff",
        "_failures",
        "_processing",
        "_ready",
        "_rng",
        "_timers",
        "_waiting",
    )

    def __init__(self, rng: random.Random, backoff: Backoff = RETRY) -> None:
        self._rng = rng
        self._backoff = backoff
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._processing: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Have ``key`` reconciled after now, once, however often it is added before that."""
        if key in self._processing:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Add ``key`` in ``delay_s`` seconds; of several timers of one key the earliest stands."""
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + delay_s
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._fire, key)

    def _fire(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    def retry(self, key: Key, at_least_s: float = 0.0) -> float:
        """Add ``key`` after its back-off, which grows until ``forget``; the delay in seconds."""
        attempt = self._failures.get(key, 0)
        self._failures[key] = attempt + 1
        delay_s = max(at_least_s, self._backoff.delay_s(attempt, self._rng))
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: Key) -> None:
        """The last attempt was good: the next failure starts at the shortest delay."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """Failed attempts in a row."""
        return self._failures.get(key, 0)

    async def get(self) -> Key:
        """The next key; it belongs to the caller until ``done``. Cancelling loses no key."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: Key) -> None:
        """The caller is finished with ``key``; it is queued again if it was added meanwhile.

        Raises:
            KeyError: nobody has ``key``.
        """
        self._processing.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key)

    def close(self) -> None:
        """Cancel all timers; keys that wait stay and can still be taken."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    @property
    def idle(self) -> bool:
        """Whether no key waits or is being worked on (timers do not count)."""
        return not self._waiting and not self._processing

    def statistics(self) -> QueueStatistics:
        """A snapshot for metrics and tests."""
        return QueueStatistics(
            ready=len(self),
            processing=len(self._processing),
            delayed=len(self._timers),
            failing=len(self._failures),
        )
