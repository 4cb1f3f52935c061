"""ReplicaSet (``apps/v1``)."""

from knarr.meta.objects import Resource, Struct
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.kind import Kind


class ReplicaSetSpec(Struct, frozen=True, kw_only=True):
    """How many Pods of which template."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector | None = None
    template: PodTemplateSpec | None = None


class ReplicaSetStatus(Struct, frozen=True, kw_only=True):
    """Counts of Pods; ``replicas`` is always written, the others are absent when zero."""

    replicas: int | None = None
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(Resource, frozen=True, kw_only=True):
    """Keeps a number of Pods of one template running."""

    spec: ReplicaSetSpec | None = None
    status: ReplicaSetStatus | None = None


REPLICA_SET: Kind[ReplicaSet] = Kind(
    group="apps",
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    builtin=True,
    has_scale=True,
    model=ReplicaSet,
)
