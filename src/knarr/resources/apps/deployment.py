"""Deployment (``apps/v1``)."""

from collections.abc import Mapping
from typing import Any

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
from knarr.resources.fielderrors import IMMUTABLE, forbidden, invalid, not_supported
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors


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


def default_deployment(deployment: Deployment, admission: Admission) -> Deployment:
    """One replica, rolling update by quarters, ten old ReplicaSets, ten minutes to progress."""
    if admission.subresource:
        return deployment
    spec = deployment.spec or DeploymentSpec()
    strategy = spec.strategy or DeploymentStrategy()
    strategy = replace(strategy, type=strategy.type or "RollingUpdate")
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update or RollingUpdate()
        unavailable, surge = rolling.max_unavailable, rolling.max_surge
        rolling = RollingUpdate(
            max_unavailable="25%" if unavailable is None else unavailable,
            max_surge="25%" if surge is None else surge,
        )
        strategy = replace(strategy, rolling_update=rolling)
    limit, deadline = spec.revision_history_limit, spec.progress_deadline_seconds
    spec = replace(
        spec,
        replicas=1 if spec.replicas is None else spec.replicas,
        template=default_template(spec.template),
        strategy=strategy,
        revision_history_limit=10 if limit is None else limit,
        progress_deadline_seconds=600 if deadline is None else deadline,
    )
    status = deployment.status
    if status is None and admission.operation == "CREATE":
        status = DeploymentStatus()
    return replace(deployment, spec=spec, status=status)


def _amount_errors(path: str, value: int | str | None) -> list[FieldError]:
    if isinstance(value, int):
        return [] if value >= 0 else [invalid(path, value, "must be greater than or equal to 0")]
    digits = (value or "0%").removesuffix("%")
    if value is not None and (not value.endswith("%") or not digits.isdecimal()):
        detail = "a valid percent string must be a numeric string followed by an ending '%'"
        return [invalid(path, value, detail)]
    return []


def _strategy_errors(strategy: DeploymentStrategy | None) -> list[FieldError]:
    if strategy is None:
        return []
    if strategy.type not in {"", "Recreate", "RollingUpdate"}:
        return [not_supported("type", strategy.type, ("Recreate", "RollingUpdate"))]
    rolling = strategy.rolling_update
    if rolling is None:
        return []
    if strategy.type == "Recreate":
        detail = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden("rollingUpdate", detail)]
    errors = _amount_errors("rollingUpdate.maxUnavailable", rolling.max_unavailable)
    errors += _amount_errors("rollingUpdate.maxSurge", rolling.max_surge)
    zero = {0, "0%"}
    if rolling.max_unavailable in zero and rolling.max_surge in zero:
        detail = "may not be 0 when `maxSurge` is 0"
        path = "rollingUpdate.maxUnavailable"
        errors.append(invalid(path, rolling.max_unavailable, detail))
    return errors


def validate_deployment(deployment: Deployment, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; the selector never changes."""
    if admission.subresource:
        return ()
    spec = deployment.spec or DeploymentSpec()
    errors = replicas_errors("replicas", spec.replicas)
    errors += replicas_errors("minReadySeconds", spec.min_ready_seconds)
    errors += replicas_errors("revisionHistoryLimit", spec.revision_history_limit)
    errors += at("strategy", _strategy_errors(spec.strategy))
    deadline = spec.progress_deadline_seconds
    if deadline is not None and deadline <= spec.min_ready_seconds:
        detail = "must be greater than minReadySeconds"
        errors.append(invalid("progressDeadlineSeconds", deadline, detail))
    errors += workload_errors(spec.selector, spec.template)
    old = admission.old
    if isinstance(old, Deployment) and old.spec and old.spec.selector != spec.selector:
        errors.append(invalid("selector", spec.selector, IMMUTABLE))
    return (*metadata_errors(deployment.metadata), *at("spec", errors))


def _ready(document: Mapping[str, Any], _: float) -> object:
    ready = get(document, "status", "readyReplicas") or 0
    return f"{ready}/{get(document, 'spec', 'replicas') or 0}"


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
    age=False,
    columns=(
        Column("Ready", "string", _ready),
        Column("Up-to-date", "string", number("status", "updatedReplicas")),
        Column("Available", "string", number("status", "availableReplicas")),
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
    default=default_deployment,
    validate=validate_deployment,
)
