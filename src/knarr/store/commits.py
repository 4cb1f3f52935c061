"""Group commit: one transaction at a time, and everything that arrives meanwhile shares the next.

The queue is bounded by the callers, each of which waits for its own write. Non-durable rows are
coalesced by key, so there are at most as many as objects. When a commit fails for want of space,
everything staged fails with it (later writes were decided on the state of earlier ones), non-durable
rows stay queued, and the next write tries again. When the disk itself fails, nothing is retried.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable

from knarr.meta.errors import StatusError, Unavailable
from knarr.meta.objects import Key
from knarr.store.records import Row, Write
from knarr.store.sqlite import Database, StoreBroken

Slot = tuple[str, Key]

RESERVE_BLOCK = 10_000
_RETRY_S = 1.0
_log = logging.getLogger(__name__)


class GroupCommit:
    """Carries writes to the database and tells when they are durable.

    Args:
        database: opened; its ``commit`` is called from one thread of ours.
        threaded: False runs commits on the event loop's thread (for databases in memory).
        lazy_delay_s: how long a non-durable row may wait for company.
        publish: called with the writes of a successful commit, in order, before their callers wake.
        abandon: called when everything staged has failed, before the callers wake.
    """

    def __init__(
        self,
        database: Database,
        *,
        threaded: bool,
        lazy_delay_s: float,
        publish: Callable[[list[Write]], None],
        abandon: Callable[[], None],
    ) -> None:
        self._database = database
        self._thread = _WriterThread() if threaded else None
        self._lazy_delay_s = lazy_delay_s
        self._publish = publish
        self._abandon = abandon
        self._loop = asyncio.get_running_loop()
        self._queue: list[Write] = []
        self._barriers: list[asyncio.Future[None]] = []
        self._lazy: dict[Slot, Row] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._running = False
        self._failing = False
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.broken = asyncio.Event()
        self.fault: StatusError | None = None
        self.assigned_rv = 0
        self.reserved_rv = 0

    def start(self, rv: int) -> None:
        """Begin handing out versions after ``rv``; blocks for one commit."""
        self.assigned_rv = rv
        self.reserved_rv = rv + RESERVE_BLOCK
        self._database.commit((), self.reserved_rv)

    def submit(self, write: Write) -> None:
        """Queue a durable write; its ``done`` future tells the outcome."""
        self._queue.append(write)
        self._soon()

    def submit_lazily(self, row: Row) -> None:
        """Queue a row that nobody waits for."""
        self._lazy[row.collection, row.key] = row
        if not self._running:
            self._later(self._lazy_delay_s)

    async def settle(self) -> None:
        """Wait until all that is queued now is durable.

        Raises:
            InsufficientStorage, Unavailable: it failed.
        """
        if self._queue or self._running:
            done: asyncio.Future[None] = self._loop.create_future()
            self._barriers.append(done)
            self._soon()
            await done

    async def close(self) -> None:
        """Write what is queued and the newest version, then end the thread."""
        self._closing = True
        self._flush()
        while self._running:
            self._idle.clear()
            await self._idle.wait()
            if not self._failing and self.fault is None:
                self._flush()
        self._cancel_timer()
        if self._thread is not None:
            self._thread.end()
        if self.fault is None:
            try:
                self._database.commit((), self.assigned_rv)
            except StatusError:
                _log.exception("the newest resourceVersion was not written; versions will jump")

    def _soon(self) -> None:
        if not self._scheduled and not self._running:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _later(self, delay_s: float) -> None:
        if self._timer is None and not self._closing:
            self._timer = self._loop.call_later(delay_s, self._flush)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        """Start the next commit unless one runs; the end of that one starts the next."""
        self._scheduled = False
        self._cancel_timer()
        if self._running or self.fault is not None:
            return
        if not (self._queue or self._barriers or self._lazy):
            return
        batch = _Batch(self._queue, self._barriers, self._lazy)
        self._queue, self._barriers, self._lazy = [], [], {}
        low = self.assigned_rv + RESERVE_BLOCK // 2 > self.reserved_rv
        reserve = self.assigned_rv + RESERVE_BLOCK if low else None
        rows = batch.rows()
        self._running = True
        if self._thread is None:
            self._finish(batch, reserve, self._commit(rows, reserve))
        else:
            self._thread.run(
                lambda: self._commit(rows, reserve),
                lambda error: self._loop.call_soon_threadsafe(self._finish, batch, reserve, error),
            )

    def _commit(self, rows: list[Row], reserve: int | None) -> StatusError | None:
        try:
            self._database.commit(rows, reserve)
        except StatusError as error:
            return error
        except Exception as error:  # noqa: BLE001 - it must reach the callers, not the thread's end
            return StoreBroken(f"the store failed: {error!r}")
        return None

    def _finish(self, batch: "_Batch", reserve: int | None, error: StatusError | None) -> None:
        self._running = False
        if error is None:
            self._failing = False
            if reserve is not None:
                self.reserved_rv = reserve
            self._publish(batch.writes)
            resolve(batch.waiting(), None)
        else:
            self._fail(batch, error)
        self._idle.set()
        if self._queue or self._barriers:
            self._soon()
        elif self._lazy:
            self._later(_RETRY_S if self._failing else self._lazy_delay_s)

    def _fail(self, batch: "_Batch", fault: StatusError) -> None:
        if not self._failing:
            broken = isinstance(fault, StoreBroken)
            _log.error("a commit failed: %s", fault, exc_info=fault if broken else None)
        self._failing = True
        self._lazy = batch.lazy | self._lazy
        doomed = [*batch.waiting(), *(write.done for write in self._queue), *self._barriers]
        self._queue, self._barriers = [], []
        if isinstance(fault, StoreBroken):
            self.fault = fault
            self.broken.set()
        self._abandon()
        resolve(doomed, fault)

    def check(self) -> None:
        """Refuse writes when they could not become durable.

        Raises:
            Unavailable: the disk has failed or the store is closing.
        """
        if self.fault is not None:
            raise self.fault
        if self._closing:
            raise Unavailable("the store is closed")


class _WriterThread:
    """One thread that runs one job at a time; half the price of an executor's hand-over."""

    _Job = tuple[Callable[[], StatusError | None], Callable[[StatusError | None], object]]

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_WriterThread._Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def run(
        self,
        job: Callable[[], StatusError | None],
        report: Callable[[StatusError | None], object],
    ) -> None:
        """Do ``job`` on the thread and hand its outcome to ``report`` there."""
        self._jobs.put((job, report))

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, report = item
            report(job())

    def end(self) -> None:
        """Finish what is queued and join."""
        self._jobs.put(None)
        self._thread.join()


class _Batch:
    """What one commit carries."""

    __slots__ = ("_barriers", "lazy", "writes")

    def __init__(
        self,
        writes: list[Write],
        barriers: list["asyncio.Future[None]"],
        lazy: dict[Slot, Row],
    ) -> None:
        self.writes = writes
        self.lazy = lazy
        self._barriers = barriers

    def rows(self) -> list[Row]:
        """The last state of each key."""
        rows = dict(self.lazy)
        for write in self.writes:
            rows[write.collection, write.key] = Row(
                write.collection, write.key, write.rv, write.entry
            )
        return list(rows.values())

    def waiting(self) -> list["asyncio.Future[None]"]:
        """Whom to tell the outcome."""
        return [*(write.done for write in self.writes), *self._barriers]


def resolve(futures: Iterable["asyncio.Future[None]"], error: BaseException | None) -> None:
    """Wake every caller that still waits, with an outcome of its own."""
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
