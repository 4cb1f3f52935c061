"""DaemonSet (``apps/v1``)."""

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.apps.validation import replicas_errors, workload_errors
from knarr.resources.columns import (
    AGE,
    containers_cell,
    format_labels,
    format_selector,
    get,
    images_cell,
    number,
)
from knarr.resources.core.pod_defaults import default_template
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.fielderrors import IMMUTABLE, invalid, not_supported
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

ROLLING, ON_DELETE = "RollingUpdate", "OnDelete"
_CONTAINERS = ("spec", "template", "spec", "containers")


class RollingUpdateDaemonSet(Struct, frozen=True, kw_only=True):
    """How many nodes may be without a Pod of it during an update: a number or a percentage."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DaemonSetUpdateStrategy(Struct, frozen=True, kw_only=True):
    """``type`` is RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(Struct, frozen=True, kw_only=True):
    """Which template runs on each node; times are seconds."""

    selector: LabelSelector | None = None
    template: PodTemplateSpec | None = None
    update_strategy: DaemonSetUpdateStrategy | None = None
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None


class DaemonSetStatus(Struct, frozen=True, kw_only=True):
    """Counts of nodes."""

    current_number_scheduled: int | None = None
    number_misscheduled: int | None = None
    desired_number_scheduled: int | None = None
    number_ready: int | None = None
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


EMPTY_STATUS = DaemonSetStatus(
    current_number_scheduled=0, number_misscheduled=0, desired_number_scheduled=0, number_ready=0
)


class DaemonSet(Resource, frozen=True, kw_only=True):
    """Keeps one Pod of a template running on each node."""

    spec: DaemonSetSpec | None = None
    status: DaemonSetStatus | None = None


def default_daemon_set(subject: DaemonSet, admission: Admission) -> DaemonSet:
    """Rolling updates of one node at a time, ten old revisions."""
    if admission.subresource:
        return subject
    spec = subject.spec or DaemonSetSpec()
    strategy = spec.update_strategy or DaemonSetUpdateStrategy()
    strategy = replace(strategy, type=strategy.type or ROLLING)
    if strategy.type == ROLLING:
        rolling = strategy.rolling_update or RollingUpdateDaemonSet()
        unavailable, surge = rolling.max_unavailable, rolling.max_surge
        rolling = RollingUpdateDaemonSet(
            max_unavailable=1 if unavailable is None else unavailable,
            max_surge=0 if surge is None else surge,
        )
        strategy = replace(strategy, rolling_update=rolling)
    limit = spec.revision_history_limit
    spec = replace(
        spec,
        template=default_template(spec.template),
        update_strategy=strategy,
        revision_history_limit=10 if limit is None else limit,
    )
    status = subject.status
    if status is None and admission.operation == "CREATE":
        status = EMPTY_STATUS
    return replace(subject, spec=spec, status=status)


def _strategy_errors(strategy: DaemonSetUpdateStrategy | None) -> list[FieldError]:
    if strategy is None:
        return []
    if strategy.type not in {ROLLING, ON_DELETE}:
        return [not_supported("type", strategy.type, (ROLLING, ON_DELETE))]
    rolling = strategy.rolling_update
    if rolling is None:
        return []
    errors = []
    if rolling.max_surge not in (None, 0, "0%"):
        errors.append(not_supported("rollingUpdate.maxSurge", rolling.max_surge, ("0",)))
    amount = rolling.max_unavailable
    if isinstance(amount, str):
        digits = amount.removesuffix("%")
        if not amount.endswith("%") or not digits.isdecimal():
            detail = "a valid percent string must be a numeric string followed by an ending '%'"
            errors.append(invalid("rollingUpdate.maxUnavailable", amount, detail))
            return errors
    if amount in (0, "0%"):
        detail = "cannot be 0 when `maxSurge` is 0"
        errors.append(invalid("rollingUpdate.maxUnavailable", amount, detail))
    elif isinstance(amount, int) and amount < 0:
        detail = "must be greater than or equal to 0"
        errors.append(invalid("rollingUpdate.maxUnavailable", amount, detail))
    return errors


def validate_daemon_set(subject: DaemonSet, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; the selector never changes."""
    if admission.subresource:
        return ()
    spec = subject.spec or DaemonSetSpec()
    errors = replicas_errors("minReadySeconds", spec.min_ready_seconds)
    errors += replicas_errors("revisionHistoryLimit", spec.revision_history_limit)
    errors += at("updateStrategy", _strategy_errors(spec.update_strategy))
    errors += workload_errors(spec.selector, spec.template)
    old = admission.old
    if isinstance(old, DaemonSet) and old.spec and old.spec.selector != spec.selector:
        errors.append(invalid("selector", spec.selector, IMMUTABLE))
    return (*metadata_errors(subject.metadata), *at("spec", errors))


DAEMON_SET: Kind[DaemonSet] = Kind(
    group="apps",
    version="v1",
    kind="DaemonSet",
    plural="daemonsets",
    singular="daemonset",
    short_names=("ds",),
    categories=("all",),
    builtin=True,
    model=DaemonSet,
    age=False,
    columns=(
        Column("Desired", "integer", number("status", "desiredNumberScheduled")),
        Column("Current", "integer", number("status", "currentNumberScheduled")),
        Column("Ready", "integer", number("status", "numberReady")),
        Column("Up-to-date", "integer", number("status", "updatedNumberScheduled")),
        Column("Available", "integer", number("status", "numberAvailable")),
        Column(
            "Node Selector",
            "string",
            lambda doc, _: format_labels(get(doc, "spec", "template", "spec", "nodeSelector")),
        ),
        AGE,
        Column("Containers", "string", containers_cell(*_CONTAINERS), priority=1),
        Column("Images", "string", images_cell(*_CONTAINERS), priority=1),
        Column(
            "Selector",
            "string",
            lambda doc, _: format_selector(get(doc, "spec", "selector")),
            priority=1,
        ),
    ),
    default=default_daemon_set,
    validate=validate_daemon_set,
)
