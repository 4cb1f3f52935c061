"""Runs a reconciler: takes keys from its queue and turns each outcome into what happens next.

========================  ===========================================================================
outcome                   what happens
========================  ===========================================================================
``DONE``                  nothing until the next event
``Result(after)``         again after that many seconds
``Conflict``              the cache was stale: again with back-off, not counted as an error
``Terminal``              the reconciler told the user by a condition: logged, nothing until an event
other ``StatusError``     again with back-off, not before the server's Retry-After
anything else             a bug: logged in full under an id, again with back-off
========================  ===========================================================================
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from knarr.kits.clock import Clock
from knarr.kits.tasks import TaskScope
from knarr.kube.workqueue import WorkQueue
from knarr.meta.errors import Conflict, StatusError, Terminal
from knarr.meta.objects import Key

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconciler asks for; ``requeue_after_s`` None means wait for the next event."""

    requeue_after_s: float | None = None


DONE = Result()


class Reconciler(Protocol):
    """Makes the world of one key what it should be. Level-triggered and idempotent."""

    async def reconcile(self, key: Key) -> Result:
        """Read the world, decide, write what differs. A second call writes nothing.

        Raises:
            Terminal: no retry can help; a condition says so already.
            StatusError: a request failed; the controller retries.
        """
        ...


@dataclass(frozen=True, slots=True)
class ControllerStatistics:
    """Counters since the start and gauges of now.

    Attributes:
        reconciles: finished passes, however they ended.
        errors: passes that ended in an error other than Conflict and Terminal.
        conflicts: passes that ended in Conflict.
        terminal: passes that ended in Terminal.
        busy_s: seconds spent in passes, summed over workers.
        longest_s: the longest pass.
        depth: keys that wait.
        processing: keys that workers have.
    """

    reconciles: int
    errors: int
    conflicts: int
    terminal: int
    busy_s: float
    longest_s: float
    depth: int
    processing: int


class Controller:
    """Workers around one reconciler; an async context manager that is ready when entered.

    Informers must be synced before it is entered: reconcilers take what listers do not have for absent.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        *,
        clock: Clock,
        rng: random.Random,
        queue: WorkQueue | None = None,
        workers: int = 4,
        timeout_s: float = 300.0,
    ) -> None:
        self.name = name
        self.queue = queue or WorkQueue(rng)
        self._reconciler = reconciler
        self._clock = clock
        self._rng = rng
        self._workers = workers
        self._timeout_s = timeout_s
        self._scope: TaskScope | None = None
        self._reconciles = self._errors = self._conflicts = self._terminal = 0
        self._busy_s = self._longest_s = 0.0

    def enqueue(self, key: Key) -> None:
        """Have ``key`` reconciled soon."""
        self.queue.add(key)

    @property
    def ready(self) -> bool:
        """Whether workers run."""
        return self._scope is not None

    async def __aenter__(self) -> "Controller":
        scope = TaskScope()
        await scope.__aenter__()
        for number in range(self._workers):
            scope.start(self._work(), name=f"{self.name}-{number}")
        self._scope = scope
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        scope, self._scope = self._scope, None
        self.queue.close()
        if scope is not None:
            await scope.__aexit__(kind, error, traceback)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            started = self._clock.monotonic()
            try:
                await self._process(key)
            finally:
                self.queue.done(key)
                took_s = self._clock.monotonic() - started
                self._reconciles += 1
                self._busy_s += took_s
                self._longest_s = max(self._longest_s, took_s)

    async def _process(self, key: Key) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._reconciler.reconcile(key)
        except Conflict as error:
            self._conflicts += 1
            self.queue.retry(key)
            LOG.debug("%s %s: conflict, again: %s", self.name, key, error.message)
        except Terminal as error:
            self._terminal += 1
            self.queue.forget(key)
            LOG.info("%s %s: %s: %s", self.name, key, error.reason, error.message)
        except (StatusError, TimeoutError) as error:
            self._retry_after(key, error)
        except Exception:
            self._errors += 1
            delay_s = self.queue.retry(key)
            fault = f"{self._rng.getrandbits(32):08x}"
            LOG.exception("%s %s: fault %s, again in %.3f s", self.name, key, fault, delay_s)
        else:
            self.queue.forget(key)
            if result.requeue_after_s is not None:
                self.queue.add_after(key, result.requeue_after_s)

    def _retry_after(self, key: Key, error: StatusError | TimeoutError) -> None:
        self._errors += 1
        at_least_s = getattr(error, "retry_after_s", None) or 0.0
        delay_s = self.queue.retry(key, at_least_s)
        text = str(error) or f"not finished after {self._timeout_s:g} s"
        # The first retries mostly heal what a neighbour is about to write; only then is it news.
        level = logging.WARNING if self.queue.failures(key) > 5 else logging.DEBUG
        LOG.log(level, "%s %s: %s, again in %.3f s", self.name, key, text, delay_s)

    def statistics(self) -> ControllerStatistics:
        """A snapshot for metrics and tests."""
        queue = self.queue.statistics()
        return ControllerStatistics(
            reconciles=self._reconciles,
            errors=self._errors,
            conflicts=self._conflicts,
            terminal=self._terminal,
            busy_s=self._busy_s,
            longest_s=self._longest_s,
            depth=queue.ready,
            processing=queue.processing,
        )
