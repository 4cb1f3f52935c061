"""Deletes old Events.

Events are many and nobody else reads them here, so they are not cached: a sweep reads them page by page
every two minutes. An Event therefore lives for its time to live and at most one interval longer.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from knarr.kits.clock import Clock, parse_timestamp
from knarr.kube.client import Client
from knarr.kube.controller import Result
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.core.event import EVENT, Event

SWEEP = Key("", "sweep")
"""The only key of the sweeper."""

TTL_S = 3600.0
INTERVAL_S = 120.0
LIMIT = 10_000
"""Events that are kept at most; beyond it the oldest go whatever their age."""


def last_seen(event: Event) -> str:
    """When an Event last happened, RFC 3339; empty when it does not say."""
    series = event.series.last_observed_time if event.series else None
    return (
        series
        or event.last_timestamp
        or event.event_time
        or event.metadata.creation_timestamp
        or ""
    )


class Trace(NamedTuple):
    """What the sweep remembers of an Event."""

    age_s: float
    key: Key
    uid: str


def trace_of(event: Event, now: dt.datetime) -> Trace:
    """An Event's age and name; one without a time is old."""
    try:
        age_s = (now - parse_timestamp(last_seen(event))).total_seconds()
    except ValueError:
        age_s = TTL_S
    return Trace(age_s, event.key, event.metadata.uid)


def plan_sweep(events: Iterable[Trace], limit: int = LIMIT) -> list[Trace]:
    """The Events to delete, oldest first."""
    ages = sorted(events, reverse=True)
    surplus = max(0, len(ages) - limit)
    return [each for index, each in enumerate(ages) if index < surplus or each.age_s >= TTL_S]


@dataclass(frozen=True, slots=True)
class EventSweeper:
    """A reconciler with one key that comes back by itself."""

    client: Client
    clock: Clock

    async def reconcile(self, key: Key) -> Result:  # noqa: ARG002 - there is only one
        """Delete what is too old now."""
        now = self.clock.wall()
        traces = [trace_of(event, now) async for event in self.client.each(EVENT)]
        for trace in plan_sweep(traces):
            try:
                await self.client.delete(EVENT, trace.key, uid=trace.uid)
            except NotFound:
                continue
        return Result(requeue_after_s=INTERVAL_S)
