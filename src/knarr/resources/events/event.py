"""Event (``events.k8s.io/v1``): the same objects as ``v1`` Events, under newer names.

They are stored as ``v1``; the two functions between the versions are pure and lose nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource, Struct
from knarr.meta.qualified import qualified_name_problems
from knarr.resources.columns import get
from knarr.resources.core import event as core
from knarr.resources.core.event import EVENT, EventSource
from knarr.resources.core.references import ObjectReference
from knarr.resources.fielderrors import invalid, required, too_long
from knarr.resources.kind import Admission, Column, Kind, StoredAs
from knarr.resources.metadata import metadata_errors

API_VERSION = "events.k8s.io/v1"
_NOTE_BYTES = 1024
_INSTANCE_LENGTH = 128
_TYPES = ("Normal", "Warning")

_RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_RENAMED_BACK = {old: new for new, old in _RENAMED.items()}


class EventSeries(Struct, frozen=True, kw_only=True):
    """How often an event repeated."""

    count: int = 0
    last_observed_time: str | None = None


class Event(Resource, frozen=True, kw_only=True):
    """Something that happened to an object; ``type`` is Normal or Warning."""

    event_time: str | None = None
    series: EventSeries | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    action: str = ""
    reason: str = ""
    regarding: ObjectReference | None = None
    related: ObjectReference | None = None
    note: str = ""
    type: str = ""
    deprecated_source: EventSource | None = None
    deprecated_first_timestamp: str | None = None
    deprecated_last_timestamp: str | None = None
    deprecated_count: int = 0


def to_core(document: dict[str, Any]) -> dict[str, Any]:
    """A document as ``v1``."""
    renamed = {_RENAMED.get(name, name): value for name, value in document.items()}
    return renamed | {"apiVersion": EVENT.api_version, "kind": EVENT.kind}


def from_core(document: dict[str, Any]) -> dict[str, Any]:
    """A ``v1`` document as ``events.k8s.io/v1``."""
    renamed = {_RENAMED_BACK.get(name, name): value for name, value in document.items()}
    return renamed | {"apiVersion": API_VERSION, "kind": "Event"}


def validate_event(event: Event, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules for the newer version: stricter than those of ``v1``."""
    errors = metadata_errors(event.metadata)
    if admission.operation != "CREATE":
        return tuple(errors)
    regarding = event.regarding.namespace if event.regarding else ""
    home = event.metadata.namespace
    if regarding != home and (regarding or home != "default"):
        detail = "does not match event.namespace"
        errors.append(invalid("involvedObject.namespace", regarding, detail))
    if not event.event_time:
        errors.append(required("eventTime"))
    return (*errors, *_series_errors(event.series), *_reporter_errors(event), *_rest_errors(event))


def _series_errors(series: EventSeries | None) -> list[FieldError]:
    if series is None:
        return []
    errors = []
    if series.count < 2:
        errors.append(invalid("series.count", series.count, "should be at least 2"))
    if not series.last_observed_time:
        errors.append(required("series.lastObservedTime"))
    return errors


def _reporter_errors(event: Event) -> list[FieldError]:
    errors = []
    if not event.reporting_controller:
        errors.append(required("reportingController"))
    errors += [
        invalid("reportingController", event.reporting_controller, problem)
        for problem in qualified_name_problems(event.reporting_controller)
        if event.reporting_controller
    ]
    instance = event.reporting_instance
    if not instance:
        errors.append(required("reportingInstance"))
    elif len(instance) > _INSTANCE_LENGTH:
        detail = f"can have at most {_INSTANCE_LENGTH} characters"
        errors.append(invalid("reportingInstance", instance, detail))
    return errors


def _rest_errors(event: Event) -> list[FieldError]:
    errors = [required(name) for name in ("action", "reason") if not getattr(event, name)]
    for name in ("action", "reason"):
        value = getattr(event, name)
        if len(value) > _INSTANCE_LENGTH:
            detail = f"can have at most {_INSTANCE_LENGTH} characters"
            errors.append(invalid(name, value, detail))
    if len(event.note.encode()) > _NOTE_BYTES:
        errors.append(too_long("note", _NOTE_BYTES))
    if event.type not in _TYPES:
        errors.append(invalid("type", event.type, "has invalid value: "))
    old_fields = {
        "deprecatedSource": event.deprecated_source,
        "deprecatedFirstTimestamp": event.deprecated_first_timestamp,
        "deprecatedLastTimestamp": event.deprecated_last_timestamp,
        "deprecatedCount": event.deprecated_count,
    }
    errors += [
        invalid(name, str(value), "needs to be unset")
        for name, value in old_fields.items()
        if value
    ]
    return errors


def _as_core(cell: Callable[[Mapping[str, Any], float], object]) -> Any:
    return lambda document, now: cell(to_core(dict(document)), now)


def _field(*path: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda document: str(get(document, *path) or "")


EVENTS_EVENT: Kind[Event] = Kind(
    group="events.k8s.io",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    short_names=("ev",),
    builtin=True,
    durable=False,
    has_status=False,
    model=Event,
    age=False,
    named=False,
    columns=tuple(
        Column(
            column.name,
            column.type,
            _as_core(column.cell),
            priority=column.priority,
            format=column.format,
        )
        for column in core.EVENT.columns
    ),
    validate=validate_event,
    stored_as=StoredAs(EVENT, to_core, from_core),
    selectable={
        **{
            f"regarding.{name}": _field("regarding", name)
            for name in (
                "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath",
            )
        },
        "reason": _field("reason"),
        "reportingController": _field("reportingController"),
        "type": _field("type"),
    },
)  # fmt: skip
