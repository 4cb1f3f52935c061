"""Route (``serving.knative.dev/v1``)."""

from msgspec.structs import replace

from knarr.meta.conditions import ConditionSet
from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import READY, REASON, text
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.knative import Addressable, Status
from knarr.resources.serving.annotations import SERVICE_LABEL, rollout_duration_errors
from knarr.resources.serving.configs import WEBHOOK
from knarr.resources.serving.metadata import (
    object_errors,
    owner_label_errors,
    user_errors,
    with_user,
)
from knarr.resources.serving.traffic import TrafficTarget, default_traffic, traffic_errors

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


def default_route(route: Route, admission: Admission) -> Route:
    """Knative's defaulting webhook."""
    if admission.subresource:
        return route
    traffic = route.spec.traffic if route.spec else ()
    spec = RouteSpec(traffic=default_traffic(traffic, of_service=False))
    old = admission.old.spec if isinstance(admission.old, Route) else None
    metadata = route.metadata
    if not metadata.owner_references:
        metadata = with_user(metadata, admission, old_spec=old, new_spec=spec)
    return replace(route, metadata=metadata, spec=spec)


def validate_route(route: Route, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    metadata = route.metadata
    errors = object_errors(metadata, None)
    errors += owner_label_errors(metadata, SERVICE_LABEL, "Service")
    errors += at("annotations", rollout_duration_errors(metadata.annotations))
    errors = list(at("metadata", errors))
    traffic = route.spec.traffic if route.spec else ()
    errors += at("spec", traffic_errors(traffic, of_service=False))
    old = admission.old
    if isinstance(old, Route) and not metadata.owner_references:
        found = user_errors(
            old.metadata.annotations, metadata.annotations, old_spec=old.spec, new_spec=route.spec
        )
        errors += at("metadata.annotations", found)
    return tuple(errors)


ROUTE: Kind[Route] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Route",
    plural="routes",
    singular="route",
    short_names=("rt",),
    categories=("all", "knative", "serving"),
    webhook=WEBHOOK,
    definition_labels={"duck.knative.dev/addressable": "true"},
    model=Route,
    columns=(Column("URL", "string", text("status", "url")), READY, REASON),
    age=False,
    default=default_route,
    validate=validate_route,
)
