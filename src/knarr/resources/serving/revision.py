"""Revision (``serving.knative.dev/v1``)."""

from knarr.meta.conditions import ConditionSet
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Kind
from knarr.resources.knative import Status
from knarr.resources.serving.podspec import RevisionSpec

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


REVISION: Kind[Revision] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Revision",
    plural="revisions",
    singular="revision",
    short_names=("rev",),
    categories=("all", "knative", "serving"),
    webhook="validation.webhook.serving.knative.dev",
    model=Revision,
)
