"""Route (``serving.knative.dev/v1``)."""

from knarr.meta.conditions import ConditionSet
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Kind
from knarr.resources.knative import Addressable, Status
from knarr.resources.serving.traffic import TrafficTarget

ROUTE_CONDITIONS = ConditionSet(("AllTrafficAssigned", "IngressReady", "CertificateProvisioned"))


class RouteSpec(Struct, frozen=True, kw_only=True):
    """Which Revisions get which share of the requests."""

    traffic: tuple[TrafficTarget, ...] = ()


class RouteStatus(Status, frozen=True, kw_only=True):
    """Where the Route is reached and which Revisions answer."""

    url: str = ""
    address: Addressable | None = None
    traffic: tuple[TrafficTarget, ...] = ()


class Route(Resource, frozen=True, kw_only=True):
    """A URL and the Revisions behind it."""

    spec: RouteSpec | None = None
    status: RouteStatus | None = None


ROUTE: Kind[Route] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Route",
    plural="routes",
    singular="route",
    short_names=("rt",),
    categories=("all", "knative", "serving"),
    webhook="validation.webhook.serving.knative.dev",
    model=Route,
)
