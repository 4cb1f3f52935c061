"""Configuration (``serving.knative.dev/v1``)."""

from msgspec.structs import replace

from knarr.meta.conditions import ConditionSet
from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import READY, REASON, text
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.knative import Status
from knarr.resources.serving.annotations import SERVICE_LABEL
from knarr.resources.serving.configs import WEBHOOK, configs_of
from knarr.resources.serving.metadata import (
    object_errors,
    owner_label_errors,
    user_errors,
    with_user,
)
from knarr.resources.serving.podspec import RevisionTemplate
from knarr.resources.serving.podspec_defaults import default_template
from knarr.resources.serving.podspec_validation import name_change_errors, template_errors

CONFIGURATION_CONDITIONS = ConditionSet(())


class ConfigurationSpec(Struct, frozen=True, kw_only=True):
    """The template of the newest Revision."""

    template: RevisionTemplate | None = None


class ConfigurationStatus(Status, frozen=True, kw_only=True):
    """The newest Revision, and the newest that is ready."""

    latest_ready_revision_name: str = ""
    latest_created_revision_name: str = ""


class Configuration(Resource, frozen=True, kw_only=True):
    """Makes one immutable Revision of every change of its template."""

    spec: ConfigurationSpec | None = None
    status: ConfigurationStatus | None = None


def default_configuration(subject: Configuration, admission: Admission) -> Configuration:
    """Knative's defaulting webhook."""
    if admission.subresource:
        return subject
    old = admission.old.spec if isinstance(admission.old, Configuration) else None
    configs = configs_of(admission)
    spec = ConfigurationSpec(
        template=default_template(
            subject.spec.template if subject.spec else None,
            previous=old.template if old else None,
            parent=subject.metadata,
            defaults=configs.defaults,
            features=configs.features,
            creating=admission.operation == "CREATE",
        )
    )
    metadata = subject.metadata
    if not metadata.owner_references:
        metadata = with_user(metadata, admission, old_spec=old, new_spec=spec)
    return replace(subject, metadata=metadata, spec=spec)


def validate_configuration(subject: Configuration, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    metadata = subject.metadata
    template = (subject.spec.template if subject.spec else None) or RevisionTemplate()
    errors = object_errors(metadata, None)
    errors += owner_label_errors(metadata, SERVICE_LABEL, "Service")
    errors = list(at("metadata", errors))
    found = template_errors(template, metadata, configs_of(admission))
    errors += at("spec.template", found)
    old = admission.old
    if isinstance(old, Configuration):
        if not metadata.owner_references:
            found = user_errors(
                old.metadata.annotations,
                metadata.annotations,
                old_spec=old.spec,
                new_spec=subject.spec,
            )
            errors += at("metadata.annotations", found)
        before = old.spec.template if old.spec else None
        errors += at("spec.template", name_change_errors(before, template))
    return tuple(errors)


CONFIGURATION: Kind[Configuration] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Configuration",
    plural="configurations",
    singular="configuration",
    short_names=("config", "cfg"),
    categories=("all", "knative", "serving"),
    webhook=WEBHOOK,
    definition_labels={"duck.knative.dev/podspecable": "true"},
    model=Configuration,
    columns=(
        Column("LatestCreated", "string", text("status", "latestCreatedRevisionName")),
        Column("LatestReady", "string", text("status", "latestReadyRevisionName")),
        READY,
        REASON,
    ),
    age=False,
    default=default_configuration,
    validate=validate_configuration,
)
