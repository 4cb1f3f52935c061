"""Deployment (``apps/v1``)."""

from knarr.meta.objects import Resource, Struct
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.kind import Kind


class RollingUpdate(Struct, frozen=True, kw_only=True):
    """How many Pods more or fewer there may be during an update: numbers or percentages."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DeploymentStrategy(Struct, frozen=True, kw_only=True):
    """``type`` is RollingUpdate or Recreate."""

    type: str = ""
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Struct, frozen=True, kw_only=True):
    """How many Pods of which template; times are seconds."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec | None = None
    strategy: DeploymentStrategy | None = None
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


class DeploymentStatus(Struct, frozen=True, kw_only=True):
    """Counts of Pods; absent means zero."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int | None = None
    conditions: tuple[Condition, ...] = ()
    collision_count: int | None = None


class Deployment(Resource, frozen=True, kw_only=True):
    """Keeps Pods of a template running and replaces them when the template changes."""

    spec: DeploymentSpec | None = None
    status: DeploymentStatus | None = None


DEPLOYMENT: Kind[Deployment] = Kind(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    builtin=True,
    has_scale=True,
    model=Deployment,
)
