"""Traffic targets of a Service or Route."""

from knarr.meta.objects import Struct


class TrafficTarget(Struct, frozen=True, kw_only=True):
    """A share of the requests: ``percent`` (0 to 100) of all, or all of a ``tag``'s own host."""

    tag: str = ""
    revision_name: str = ""
    configuration_name: str = ""
    latest_revision: bool | None = None
    percent: int | None = None
    url: str = ""
