"""Service (``serving.knative.dev/v1``)."""

from msgspec.structs import replace

from knarr.meta.conditions import ConditionSet
from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import READY, REASON, text
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.knative import Addressable, Status
from knarr.resources.serving.annotations import rollout_duration_errors
from knarr.resources.serving.configs import WEBHOOK, configs_of
from knarr.resources.serving.metadata import object_errors, user_errors, with_user
from knarr.resources.serving.podspec import RevisionTemplate
from knarr.resources.serving.podspec_defaults import default_template
from knarr.resources.serving.podspec_validation import name_change_errors, template_errors
from knarr.resources.serving.traffic import TrafficTarget, default_traffic, traffic_errors

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


def default_service(service: Service, admission: Admission) -> Service:
    """Knative's defaulting webhook."""
    if admission.subresource:
        return service
    spec = service.spec or ServiceSpec()
    old = admission.old.spec if isinstance(admission.old, Service) else None
    configs = configs_of(admission)
    spec = ServiceSpec(
        template=default_template(
            spec.template,
            previous=old.template if old else None,
            parent=service.metadata,
            defaults=configs.defaults,
            features=configs.features,
            creating=admission.operation == "CREATE",
        ),
        traffic=default_traffic(spec.traffic, of_service=True),
    )
    metadata = with_user(service.metadata, admission, old_spec=old, new_spec=spec)
    return replace(service, metadata=metadata, spec=spec)


def validate_service(service: Service, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    spec = service.spec or ServiceSpec()
    template = spec.template or RevisionTemplate()
    metadata = service.metadata
    errors = object_errors(metadata, None)
    errors += at("annotations", rollout_duration_errors(metadata.annotations))
    errors = list(at("metadata", errors))
    found = template_errors(template, metadata, configs_of(admission))
    errors += at("spec.template", found)
    errors += at("spec", traffic_errors(spec.traffic, of_service=True))
    old = admission.old
    if isinstance(old, Service):
        found = user_errors(
            old.metadata.annotations, metadata.annotations, old_spec=old.spec, new_spec=service.spec
        )
        errors += at("metadata.annotations", found)
        before = old.spec.template if old.spec else None
        errors += at("spec.template", name_change_errors(before, template))
    return tuple(errors)


SERVICE: Kind[Service] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Service",
    plural="services",
    singular="service",
    short_names=("kservice", "ksvc"),
    categories=("all", "knative", "serving"),
    webhook=WEBHOOK,
    definition_labels={
        "duck.knative.dev/addressable": "true",
        "duck.knative.dev/podspecable": "true",
    },
    model=Service,
    columns=(
        Column("URL", "string", text("status", "url")),
        Column("LatestCreated", "string", text("status", "latestCreatedRevisionName")),
        Column("LatestReady", "string", text("status", "latestReadyRevisionName")),
        READY,
        REASON,
    ),
    age=False,
    default=default_service,
    validate=validate_service,
)
