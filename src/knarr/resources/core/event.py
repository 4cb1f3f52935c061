"""Event (``v1``)."""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import get, since, text
from knarr.resources.core.references import ObjectReference
from knarr.resources.fielderrors import invalid
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors


class EventSource(Struct, frozen=True, kw_only=True):
    """The component that reports."""

    component: str = ""
    host: str = ""


class EventSeries(Struct, frozen=True, kw_only=True):
    """How often an event repeated."""

    count: int = 0
    last_observed_time: str | None = None


class Event(Resource, frozen=True, kw_only=True):
    """Something that happened to an object; ``type`` is Normal or Warning."""

    involved_object: ObjectReference | None = None
    reason: str = ""
    message: str = ""
    source: EventSource | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: int = 0
    type: str = ""
    event_time: str | None = None
    series: EventSeries | None = None
    action: str = ""
    related: ObjectReference | None = None
    reporting_component: str = ""
    reporting_instance: str = ""


def validate_event(event: Event, admission: Admission) -> tuple[FieldError, ...]:
    """An event lives in the namespace of its object; of cluster-scoped objects in ``default``."""
    errors = metadata_errors(event.metadata)
    involved = event.involved_object.namespace if event.involved_object else ""
    home = event.metadata.namespace
    if admission.operation == "CREATE" and involved != home and (involved or home != "default"):
        detail = "does not match event.namespace"
        errors.append(invalid("involvedObject.namespace", involved, detail))
    return tuple(errors)


def _last_seen(document: Mapping[str, Any], now: float) -> object:
    series = get(document, "series", "lastObservedTime")
    moment = series or get(document, "lastTimestamp") or get(document, "eventTime")
    return since(moment or get(document, "firstTimestamp"), now)


def _first_seen(document: Mapping[str, Any], now: float) -> object:
    return since(get(document, "firstTimestamp") or get(document, "eventTime"), now)


def _object(document: Mapping[str, Any], _: float) -> object:
    involved = get(document, "involvedObject")
    kind, name = get(involved, "kind") or "", get(involved, "name") or ""
    return f"{kind.lower()}/{name}" if name else kind.lower()


def _source(document: Mapping[str, Any], _: float) -> object:
    component = get(document, "source", "component") or get(document, "reportingComponent") or ""
    host = get(document, "source", "host") or get(document, "reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _count(document: Mapping[str, Any], _: float) -> object:
    return get(document, "series", "count") or get(document, "count") or 1


def _field(*path: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda document: str(get(document, *path) or "")


EVENT: Kind[Event] = Kind(
    group="",
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
    columns=(
        Column("Last Seen", "string", _last_seen),
        Column("Type", "string", text("type")),
        Column("Reason", "string", text("reason")),
        Column("Object", "string", _object),
        Column("Subobject", "string", text("involvedObject", "fieldPath"), priority=1),
        Column("Source", "string", _source, priority=1),
        Column("Message", "string", lambda doc, _: (get(doc, "message") or "").strip()),
        Column("First Seen", "string", _first_seen, priority=1),
        Column("Count", "string", _count, priority=1),
        Column("Name", "string", text("metadata", "name"), priority=1, format="name"),
    ),
    validate=validate_event,
    selectable={
        "involvedObject.kind": _field("involvedObject", "kind"),
        "involvedObject.namespace": _field("involvedObject", "namespace"),
        "involvedObject.name": _field("involvedObject", "name"),
        "involvedObject.uid": _field("involvedObject", "uid"),
        "involvedObject.apiVersion": _field("involvedObject", "apiVersion"),
        "involvedObject.resourceVersion": _field("involvedObject", "resourceVersion"),
        "involvedObject.fieldPath": _field("involvedObject", "fieldPath"),
        "reason": _field("reason"),
        "reportingComponent": _field("reportingComponent"),
        "source": _field("source", "component"),
        "type": _field("type"),
    },
)
