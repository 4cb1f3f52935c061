"""Which Revisions of a Configuration are to be deleted; pure (Knative ``pkg/reconciler/gc``)."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from knarr.kits.clock import parse_timestamp
from knarr.resources.config.gc import GcConfig
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.serving import labels

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Collection:
    """The Revisions to delete, and seconds until another may be old enough (None: never)."""

    revisions: tuple[Revision, ...]
    again_in_s: float | None


def plan_collection(
    config: GcConfig, configuration: Configuration, revisions: Sequence[Revision], now: dt.datetime
) -> Collection:
    """Delete what is older than both limits but keep the least number, then what is beyond the most."""
    latest = configuration.status.latest_ready_revision_name if configuration.status else ""
    idle = sorted(
        (item for item in revisions if is_idle(item, latest)),
        key=lambda item: (_last_active(item), item.key),
    )
    spare = len(idle) - config.min_non_active_revisions
    if spare <= 0:
        return Collection((), None)
    ages = {item.key: _stale_in_s(config, item, now) for item in idle}
    stale = [item for item in idle if (left := ages[item.key]) is not None and left <= 0][:spare]
    chosen = {item.key for item in stale}
    rest = [item for item in idle if item.key not in chosen]
    most = config.max_non_active_revisions
    beyond = rest[: len(rest) - most] if most is not None and len(rest) > most else []
    waits = [left for item in rest if (left := ages[item.key]) is not None and left > 0]
    again_in_s = min(waits) if waits and len(stale) < spare else None
    return Collection((*stale, *beyond), again_in_s)


def is_idle(revision: Revision, latest_ready: str) -> bool:
    """Whether no Route uses a Revision and nobody asked to keep it."""
    meta = revision.metadata
    return (
        meta.name != latest_ready
        and meta.annotation(labels.NO_GC).lower() != "true"
        and meta.label(labels.ROUTING_STATE) == "reserve"
        and not revision.deleting
    )


def _created(revision: Revision) -> dt.datetime:
    text = revision.metadata.creation_timestamp
    return parse_timestamp(text) if text else _EPOCH


def _last_active(revision: Revision) -> dt.datetime:
    text = revision.metadata.annotation(labels.ROUTING_STATE_MODIFIED)
    try:
        return parse_timestamp(text)
    except ValueError:
        return _created(revision)


def _stale_in_s(config: GcConfig, revision: Revision, now: dt.datetime) -> float | None:
    """Seconds until a Revision is older than both limits; None when both are disabled."""
    limits = (
        (config.retain_since_create_time_s, _created(revision)),
        (config.retain_since_last_active_time_s, _last_active(revision)),
    )
    left = [limit - (now - since).total_seconds() for limit, since in limits if limit is not None]
    return max(left, default=None)
