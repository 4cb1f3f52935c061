"""Configuration (``serving.knative.dev/v1``)."""

from knarr.meta.conditions import ConditionSet
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Kind
from knarr.resources.knative import Status
from knarr.resources.serving.podspec import RevisionTemplate

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


CONFIGURATION: Kind[Configuration] = Kind(
    group="serving.knative.dev",
    version="v1",
    kind="Configuration",
    plural="configurations",
    singular="configuration",
    short_names=("config", "cfg"),
    categories=("all", "knative", "serving"),
    webhook="validation.webhook.serving.knative.dev",
    model=Configuration,
)
