"""The autoscaler's shell: feeds statistics to windows, decides every two seconds or when poked.

The PodAutoscaler reconciler registers revisions with ``track`` and reads ``recommendation``; whenever a
recommendation changes, ``notify`` is called with the revision's key. A revision that is at zero, with no
replica and nothing in its windows, sleeps: it costs no decision until demand or statistics wake it, so
ten thousand idle services cost nothing.

Bounds: per revision two windows and the last ``KEPT_DECISIONS`` decisions that differ, the oldest dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from knarr.dataplane import messages
from knarr.kits.clock import Clock
from knarr.kits.tasks import TaskScope
from knarr.meta.objects import Key, parse_key
from knarr.serving.autoscaler.collector import Collection
from knarr.serving.autoscaler.decider import (
    TICK_S,
    DeciderState,
    Decision,
    decide,
    initial_excess_burst_capacity,
    initial_state,
)
from knarr.serving.autoscaler.policy import Policy
from knarr.serving.autoscaler.scaler import UNKNOWN_SCALE

KEPT_DECISIONS = 32


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The standing result: replicas (-1 before the first decision) and spare capacity."""

    desired: int
    excess_burst_capacity: int


@dataclass(slots=True)
class _Tracked:
    policy: Policy
    collection: Collection
    state: DeciderState
    recommendation: Recommendation
    history: deque[Decision] = field(default_factory=lambda: deque(maxlen=KEPT_DECISIONS))


class Autoscaler:
    """Recommends scales for the revisions it tracks; a ``dataplane.stats.TrafficSink``.

    Args:
        clock: of windows and decisions (monotonic).
        ready: how many Ready replicas a revision (``namespace/name``) has now.
        gateways: how many gateways are connected now.
    """

    def __init__(
        self, clock: Clock, ready: Callable[[str], int], gateways: Callable[[], int]
    ) -> None:
        self._clock = clock
        self._ready = ready
        self._gateways = gateways
        self._notify: Callable[[Key], None] = lambda _key: None
        self._tracked: dict[str, _Tracked] = {}
        self._awake: set[str] = set()
        self._scope: TaskScope | None = None

    def on_change(self, notify: Callable[[Key], None]) -> None:
        """Call ``notify`` with the key of every revision whose recommendation changes."""
        self._notify = notify

    async def __aenter__(self) -> Self:
        self._scope = scope = TaskScope()
        await scope.__aenter__()
        scope.start(self._run(), name="autoscaler")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(kind, error, trace)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def track(self, key: Key, policy: Policy) -> Recommendation:
        """Begin or go on to recommend for a revision, with this policy."""
        name, now_s = str(key), self._clock.monotonic()
        known = self._tracked.get(name)
        if known is None:
            self._tracked[name] = known = _Tracked(
                policy=policy,
                collection=Collection(policy, now_s),
                state=initial_state(self._ready(name), now_s),
                recommendation=Recommendation(
                    UNKNOWN_SCALE,
                    initial_excess_burst_capacity(policy.decider, policy.initial_scale),
                ),
            )
            self._awake.add(name)
        elif known.policy != policy:
            known.policy = policy
            known.collection.update(policy, now_s)
            self._awake.add(name)
        return known.recommendation

    def ready(self, revision: str) -> int:
        """How many Ready replicas a revision has now."""
        return self._ready(revision)

    def forget(self, key: Key) -> None:
        """The revision is gone."""
        self._tracked.pop(str(key), None)
        self._awake.discard(str(key))

    def wake(self, key: Key) -> None:
        """Replicas of the revision changed.

        While a revision is young this calls for a decision now: its replicas come one by one, and none
        may be ended because the others were not there at the last tick.
        """
        name = str(key)
        known = self._tracked.get(name)
        if known is None:
            return
        self._awake.add(name)
        watched_s = known.collection.watched_s(self._clock.monotonic())
        if watched_s < known.policy.decider.stable_window_s and self._gateways():
            self._decide(name)

    def decisions(self, key: Key) -> tuple[Decision, ...]:
        """The last decisions of a revision, oldest first."""
        known = self._tracked.get(str(key))
        return tuple(known.history) if known else ()

    @property
    def awake(self) -> int:
        """How many revisions the next tick decides on."""
        return len(self._awake)

    def tick(self) -> None:
        """Decide for every revision that is awake; without a gateway there is no data."""
        if not self._gateways():
            return
        for name in sorted(self._awake):
            self._decide(name)

    def demanded(self, demand: messages.Demand) -> None:
        """A request found no replica: from zero, decide now."""
        known = self._tracked.get(demand.revision)
        if known is None or known.recommendation.desired > 0:
            return
        known.collection.record(self._clock.monotonic(), 1.0, 1.0)
        self._awake.add(demand.revision)
        self._decide(demand.revision)

    def reported(self, stats: messages.Stats) -> None:
        """A gateway's interval; requests that wait call for a decision now."""
        now_s, interval_s = self._clock.monotonic(), stats.interval_ms / 1000
        for item in stats.revisions:
            known = self._tracked.get(item.revision)
            if known is None:
                continue
            known.collection.record(now_s, item.concurrency * interval_s, item.requests)
            self._awake.add(item.revision)
            woken = known.recommendation.desired == 0 and item.concurrency > 0
            if woken or item.queued:
                self._decide(item.revision)

    def _decide(self, name: str) -> None:
        known, now_s = self._tracked[name], self._clock.monotonic()
        seen = known.collection.observe(now_s, self._ready(name))
        decision = decide(known.policy.decider, known.state, seen, now_s)
        known.state = decision.after
        _remember(known.history, decision)
        before = known.recommendation
        known.recommendation = Recommendation(decision.desired, decision.excess_burst_capacity)
        if decision.desired == 0 and not seen.ready and not (seen.stable or seen.panic):
            self._awake.discard(name)
        crossed = (before.excess_burst_capacity < 0) != (decision.excess_burst_capacity < 0)
        if before.desired != decision.desired or crossed:
            self._notify(parse_key(name))


def _remember(history: deque[Decision], decision: Decision) -> None:
    """Keep a decision; one that repeats the last takes its place, so that changes stay longer."""
    if history:
        last = history[-1]
        panics = (last.after.panic_since_s is None) == (decision.after.panic_since_s is None)
        if last.desired == decision.desired and panics:
            history.pop()
    history.append(decision)
