"""Deletes old Events.

Events are many and nobody else reads them here, so they are not cached: a sweep lists them every few
minutes. An Event therefore lives for its time to live and at most one interval longer.
"""

import datetime as dt
from dataclasses import dataclass

from knarr.kits.clock import Clock, parse_timestamp
from knarr.kube.client import Client
from knarr.kube.controller import Result
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.core.event import EVENT, Event

SWEEP = Key("", "sweep")
"""The only key of the sweeper."""

TTL_S = 3600.0
INTERVAL_S = 300.0
LIMIT = 20_000
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


def plan_sweep(events: tuple[Event, ...], now: dt.datetime) -> tuple[Event, ...]:
    """The Events to delete, oldest first."""
    ages = sorted(((_age_s(event, now), event.key, event) for event in events), reverse=True)
    surplus = max(0, len(events) - LIMIT)
    return tuple(
        event for index, (age_s, _, event) in enumerate(ages) if index < surplus or age_s >= TTL_S
    )


def _age_s(event: Event, now: dt.datetime) -> float:
    try:
        return (now - parse_timestamp(last_seen(event))).total_seconds()
    except ValueError:
        return TTL_S


@dataclass(frozen=True, slots=True)
class EventSweeper:
    """A reconciler with one key that comes back by itself."""

    client: Client
    clock: Clock

    async def reconcile(self, key: Key) -> Result:  # noqa: ARG002 - there is only one
        """Delete what is too old now."""
        page = await self.client.list(EVENT)
        for event in plan_sweep(page.items, self.clock.wall()):
            try:
                await self.client.delete(EVENT, event.key, uid=event.metadata.uid)
            except NotFound:
                continue
        return Result(requeue_after_s=INTERVAL_S)
