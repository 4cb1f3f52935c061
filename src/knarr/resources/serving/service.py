"""Service (``serving.knative.dev/v1``)."""

from knarr.meta.conditions import ConditionSet
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Kind
from knarr.resources.knative import Addressable, Status
from knarr.resources.serving.podspec import RevisionTemplate
from knarr.resources.serving.traffic import TrafficTarget

WEBHOOK = "validation.webhook.serving.knative.dev"
SERVICE_CONDITIONS = ConditionSet(("ConfigurationsReady", "RoutesReady"))


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """The template of the newest Revision, and which Revisions get which share of the requests."""

    template: RevisionTemplate | None = None
    traffic: tuple[TrafficTarget, ...] = ()


class ServiceStatus(Status, frozen=True, kw_only=True):
    """What runs and where it is reached."""

    latest_ready_revision_name: str = ""
    latest_created_revision_name: str = ""
    url: str = ""
    address: Addressable | None = None
    traffic: tuple[TrafficTarget, ...] = ()


class Service(Resource, frozen=True, kw_only=True):
    """An application with a URL: one Configuration and one Route that live with it."""

    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


SERVICE: Kind[Service] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Service",
    plural="services",
    singular="service",
    short_names=("kservice", "ksvc"),
    categories=("all", "knative", "serving"),
    webhook=WEBHOOK,
    model=Service,
)
