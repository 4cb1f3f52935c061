"""ReplicaSet (``apps/v1``)."""

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.apps.validation import replicas_errors, workload_errors
from knarr.resources.columns import (
    AGE,
    containers_cell,
    format_selector,
    get,
    images_cell,
    number,
)
from knarr.resources.core.pod_defaults import default_template
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.fielderrors import IMMUTABLE, invalid
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors


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


def default_replica_set(subject: ReplicaSet, admission: Admission) -> ReplicaSet:
    """One replica; a status with its count from the beginning."""
    if admission.subresource:
        return subject
    spec = subject.spec or ReplicaSetSpec()
    spec = replace(
        spec,
        replicas=1 if spec.replicas is None else spec.replicas,
        template=default_template(spec.template),
    )
    status = subject.status
    if status is None and admission.operation == "CREATE":
        status = ReplicaSetStatus(replicas=0)
    return replace(subject, spec=spec, status=status)


def validate_replica_set(subject: ReplicaSet, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; the selector never changes."""
    if admission.subresource:
        return ()
    spec = subject.spec or ReplicaSetSpec()
    errors = replicas_errors("replicas", spec.replicas)
    errors += replicas_errors("minReadySeconds", spec.min_ready_seconds)
    errors += workload_errors(spec.selector, spec.template)
    old = admission.old
    if isinstance(old, ReplicaSet) and old.spec and old.spec.selector != spec.selector:
        errors.append(invalid("selector", spec.selector, IMMUTABLE))
    return (*metadata_errors(subject.metadata), *at("spec", errors))


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
    age=False,
    columns=(
        Column("Desired", "integer", number("spec", "replicas")),
        Column("Current", "integer", number("status", "replicas")),
        Column("Ready", "integer", number("status", "readyReplicas")),
        AGE,
        Column(
            "Containers",
            "string",
            containers_cell("spec", "template", "spec", "containers"),
            priority=1,
        ),
        Column(
            "Images", "string", images_cell("spec", "template", "spec", "containers"), priority=1
        ),
        Column(
            "Selector",
            "string",
            lambda doc, _: format_selector(get(doc, "spec", "selector")),
            priority=1,
        ),
    ),
    default=default_replica_set,
    validate=validate_replica_set,
)
