"""Revision (``serving.knative.dev/v1``)."""

from msgspec.structs import replace

from knarr.meta.conditions import ConditionSet
from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import READY, REASON, text
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.knative import Status
from knarr.resources.serving.annotations import (
    CONFIGURATION_GENERATION_LABEL,
    CONFIGURATION_LABEL,
)
from knarr.resources.serving.configs import WEBHOOK, configs_of
from knarr.resources.serving.diff import short_diff
from knarr.resources.serving.metadata import object_errors, owner_label_errors
from knarr.resources.serving.podspec import RevisionSpec
from knarr.resources.serving.podspec_defaults import default_spec, normalize_spec
from knarr.resources.serving.podspec_validation import spec_errors

REVISION_CONDITIONS = ConditionSet(("ResourcesAvailable", "ContainerHealthy"))


class ContainerStatus(Struct, frozen=True, kw_only=True):
    """The image of a container, resolved to a digest."""

    name: str = ""
    image_digest: str = ""


class RevisionStatus(Status, frozen=True, kw_only=True):
    """What the Revision runs and how many replicas it has."""

    log_url: str = ""
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    actual_replicas: int | None = None
    desired_replicas: int | None = None


class Revision(Resource, frozen=True, kw_only=True):
    """An immutable snapshot of code and configuration."""

    spec: RevisionSpec | None = None
    status: RevisionStatus | None = None


def default_revision(revision: Revision, admission: Admission) -> Revision:
    """Knative's defaulting webhook; what exists is not touched, because it is immutable."""
    if admission.subresource:
        return revision
    spec = normalize_spec(revision.spec or RevisionSpec())
    if admission.operation == "CREATE":
        configs = configs_of(admission)
        spec = default_spec(
            spec, revision.metadata, configs.defaults, configs.features, creating=True
        )
    return replace(revision, spec=spec)


def validate_revision(revision: Revision, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook; the spec never changes."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    configs = configs_of(admission)
    metadata = revision.metadata
    errors = object_errors(metadata, configs.autoscaler)
    errors += owner_label_errors(metadata, CONFIGURATION_LABEL, "Configuration")
    errors = list(at("metadata", errors))
    spec = revision.spec or RevisionSpec()
    if admission.operation == "CREATE":
        return (*errors, *at("spec", spec_errors(spec, configs)))
    before = admission.old.spec if isinstance(admission.old, Revision) else None
    before = normalize_spec(before or RevisionSpec())
    difference = short_diff("{v1.RevisionSpec}", before, normalize_spec(spec))
    if difference:
        message = "Immutable fields changed (-old +new)"
        return (FieldError(message=message, paths=("spec",), details=difference),)
    return tuple(errors)


REVISION: Kind[Revision] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Revision",
    plural="revisions",
    singular="revision",
    short_names=("rev",),
    categories=("all", "knative", "serving"),
    webhook=WEBHOOK,
    model=Revision,
    columns=(
        Column("Config Name", "string", text("metadata", "labels", CONFIGURATION_LABEL)),
        Column("Generation", "string", text("metadata", "labels", CONFIGURATION_GENERATION_LABEL)),
        READY,
        REASON,
        Column("Actual Replicas", "integer", text("status", "actualReplicas")),
        Column("Desired Replicas", "integer", text("status", "desiredReplicas")),
    ),
    age=False,
    default=default_revision,
    validate=validate_revision,
)
