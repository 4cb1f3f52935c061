"""Event (``v1``)."""

from knarr.meta.objects import Resource, Struct
from knarr.resources.core.references import ObjectReference
from knarr.resources.kind import Kind


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
)
