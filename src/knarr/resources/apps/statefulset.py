"""StatefulSet (``apps/v1``)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.apps.validation import replicas_errors, workload_errors
from knarr.resources.columns import AGE, containers_cell, get, images_cell
from knarr.resources.core.persistentvolumeclaim import (
    PersistentVolumeClaim,
    claim_spec_errors,
    default_claim_spec,
)
from knarr.resources.core.pod_defaults import default_template
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.fielderrors import forbidden, invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

ORDERED, PARALLEL = "OrderedReady", "Parallel"
ROLLING, ON_DELETE = "RollingUpdate", "OnDelete"
_CONTAINERS = ("spec", "template", "spec", "containers")
_CHANGE_TEXT = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


class RollingUpdateStatefulSet(Struct, frozen=True, kw_only=True):
    """Pods below the ordinal ``partition`` keep the old template."""

    partition: int | None = None


class StatefulSetUpdateStrategy(Struct, frozen=True, kw_only=True):
    """``type`` is RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateStatefulSet | None = None


class ClaimRetentionPolicy(Struct, frozen=True, kw_only=True):
    """What becomes of the claims of Pods that are no longer wanted; Retain."""

    when_deleted: str = ""
    when_scaled: str = ""


class StatefulSetOrdinals(Struct, frozen=True, kw_only=True):
    """The number of the first Pod."""

    start: int = 0


class StatefulSetSpec(Struct, frozen=True, kw_only=True):
    """How many Pods of which template, with which claims each."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec | None = None
    volume_claim_templates: tuple[PersistentVolumeClaim, ...] = ()
    service_name: str = ""
    pod_management_policy: str = ""
    update_strategy: StatefulSetUpdateStrategy | None = None
    revision_history_limit: int | None = None
    min_ready_seconds: int = 0
    persistent_volume_claim_retention_policy: ClaimRetentionPolicy | None = None
    ordinals: StatefulSetOrdinals | None = None


class StatefulSetStatus(Struct, frozen=True, kw_only=True):
    """Counts of Pods, and the names of the revisions between which they move."""

    observed_generation: int = 0
    replicas: int | None = None
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()
    available_replicas: int | None = None


class StatefulSet(Resource, frozen=True, kw_only=True):
    """Pods with a number and storage of their own, made and ended one after the other."""

    spec: StatefulSetSpec | None = None
    status: StatefulSetStatus | None = None


def default_stateful_set(subject: StatefulSet, admission: Admission) -> StatefulSet:
    """One replica, in order, rolling updates of all, ten old revisions."""
    if admission.subresource:
        return subject
    spec = subject.spec or StatefulSetSpec()
    strategy = spec.update_strategy or StatefulSetUpdateStrategy()
    strategy = replace(strategy, type=strategy.type or ROLLING)
    if strategy.type == ROLLING:
        rolling = strategy.rolling_update or RollingUpdateStatefulSet()
        partition = rolling.partition or 0
        strategy = replace(strategy, rolling_update=RollingUpdateStatefulSet(partition=partition))
    retention = spec.persistent_volume_claim_retention_policy or ClaimRetentionPolicy()
    limit = spec.revision_history_limit
    spec = replace(
        spec,
        replicas=1 if spec.replicas is None else spec.replicas,
        template=default_template(spec.template),
        volume_claim_templates=tuple(_default_claim(one) for one in spec.volume_claim_templates),
        pod_management_policy=spec.pod_management_policy or ORDERED,
        update_strategy=strategy,
        revision_history_limit=10 if limit is None else limit,
        persistent_volume_claim_retention_policy=ClaimRetentionPolicy(
            when_deleted=retention.when_deleted or "Retain",
            when_scaled=retention.when_scaled or "Retain",
        ),
    )
    status = subject.status
    if status is None and admission.operation == "CREATE":
        status = StatefulSetStatus(replicas=0, available_replicas=0)
    return replace(subject, spec=spec, status=status)


def _default_claim(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    return replace(
        claim,
        api_version=claim.api_version or "v1",
        kind=claim.kind or "PersistentVolumeClaim",
        spec=default_claim_spec(claim.spec),
    )


def _strategy_errors(strategy: StatefulSetUpdateStrategy | None) -> list[FieldError]:
    if strategy is None:
        return []
    if strategy.type not in {ROLLING, ON_DELETE}:
        return [invalid("type", strategy.type, f"must be '{ROLLING}' or '{ON_DELETE}'")]
    rolling = strategy.rolling_update
    if strategy.type == ON_DELETE and rolling is not None:
        detail = f"only allowed for updateStrategy '{ROLLING}'"
        return [invalid("rollingUpdate", rolling, detail)]
    partition = rolling.partition if rolling else None
    if partition is not None and partition < 0:
        detail = "must be greater than or equal to 0"
        return [invalid("rollingUpdate.partition", partition, detail)]
    return []


def _claim_errors(templates: tuple[PersistentVolumeClaim, ...]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, template in enumerate(templates):
        path = f"volumeClaimTemplates[{index}]"
        if not template.metadata.name:
            errors.append(required(f"{path}.metadata.name"))
        if template.spec is not None:
            errors += at(f"{path}.spec", claim_spec_errors(template.spec))
    return errors


def _retention_errors(policy: ClaimRetentionPolicy | None) -> list[FieldError]:
    policy = policy or ClaimRetentionPolicy()
    pairs = (("whenDeleted", policy.when_deleted), ("whenScaled", policy.when_scaled))
    return [
        not_supported(f"persistentVolumeClaimRetentionPolicy.{name}", value, ("Retain",))
        for name, value in pairs
        if value not in ("", "Retain")
    ]


def _update_errors(old: StatefulSetSpec, new: StatefulSetSpec) -> list[FieldError]:
    same = replace(
        new,
        replicas=old.replicas,
        ordinals=old.ordinals,
        template=old.template,
        update_strategy=old.update_strategy,
        revision_history_limit=old.revision_history_limit,
        min_ready_seconds=old.min_ready_seconds,
        persistent_volume_claim_retention_policy=old.persistent_volume_claim_retention_policy,
    )
    return [] if same == old else [forbidden("", _CHANGE_TEXT)]


def validate_stateful_set(subject: StatefulSet, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; what gives the Pods their identity never changes."""
    if admission.subresource:
        return ()
    spec = subject.spec or StatefulSetSpec()
    errors = replicas_errors("replicas", spec.replicas)
    errors += replicas_errors("minReadySeconds", spec.min_ready_seconds)
    errors += replicas_errors("revisionHistoryLimit", spec.revision_history_limit)
    errors += replicas_errors("ordinals.start", spec.ordinals.start if spec.ordinals else None)
    if spec.pod_management_policy not in {ORDERED, PARALLEL}:
        detail = f"must be '{ORDERED}' or '{PARALLEL}'"
        errors.append(invalid("podManagementPolicy", spec.pod_management_policy, detail))
    errors += at("updateStrategy", _strategy_errors(spec.update_strategy))
    errors += _retention_errors(spec.persistent_volume_claim_retention_policy)
    errors += _claim_errors(spec.volume_claim_templates)
    errors += workload_errors(
        spec.selector,
        spec.template,
        volumes=frozenset(claim.metadata.name for claim in spec.volume_claim_templates),
    )
    if isinstance(admission.old, StatefulSet) and admission.old.spec is not None:
        errors += _update_errors(admission.old.spec, spec)
    return (*metadata_errors(subject.metadata), *at("spec", errors))


def _ready(document: Mapping[str, Any], _: float) -> object:
    ready = get(document, "status", "readyReplicas") or 0
    return f"{ready}/{get(document, 'spec', 'replicas') or 0}"


STATEFUL_SET: Kind[StatefulSet] = Kind(
    group="apps",
    version="v1",
    kind="StatefulSet",
    plural="statefulsets",
    singular="statefulset",
    short_names=("sts",),
    categories=("all",),
    builtin=True,
    has_scale=True,
    model=StatefulSet,
    age=False,
    columns=(
        Column("Ready", "string", _ready),
        AGE,
        Column("Containers", "string", containers_cell(*_CONTAINERS), priority=1),
        Column("Images", "string", images_cell(*_CONTAINERS), priority=1),
    ),
    default=default_stateful_set,
    validate=validate_stateful_set,
)
