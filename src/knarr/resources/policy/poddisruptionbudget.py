"""PodDisruptionBudget (``policy/v1``)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import AGE, get, number
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.core.references_validation import selector_errors
from knarr.resources.fielderrors import invalid, not_supported
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


class PodDisruptionBudgetSpec(Struct, frozen=True, kw_only=True):
    """How many of the selected Pods must stay, or may be missing: numbers or percentages."""

    min_available: int | str | None = None
    selector: LabelSelector | None = None
    max_unavailable: int | str | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(Struct, frozen=True, kw_only=True):
    """Counts of Pods, and those whose eviction was granted and is not seen yet."""

    observed_generation: int = 0
    disrupted_pods: Mapping[str, str] | None = None
    disruptions_allowed: int | None = None
    current_healthy: int | None = None
    desired_healthy: int | None = None
    expected_pods: int | None = None
    conditions: tuple[Condition, ...] = ()


EMPTY_STATUS = PodDisruptionBudgetStatus(
    disruptions_allowed=0, current_healthy=0, desired_healthy=0, expected_pods=0
)


class PodDisruptionBudget(Resource, frozen=True, kw_only=True):
    """Bounds how many Pods evictions may take away at once."""

    spec: PodDisruptionBudgetSpec | None = None
    status: PodDisruptionBudgetStatus | None = None


def default_budget(subject: PodDisruptionBudget, admission: Admission) -> PodDisruptionBudget:
    """A new budget allows nothing until it was counted."""
    if admission.operation == "CREATE" and subject.status is None:
        return msgspec.structs.replace(subject, status=EMPTY_STATUS)
    return subject


def _amount_errors(path: str, value: int | str | None) -> list[FieldError]:
    if value is None:
        return []
    if isinstance(value, int):
        return [] if value >= 0 else [invalid(path, value, "must be greater than or equal to 0")]
    digits = value.removesuffix("%")
    if not value.endswith("%") or not digits.isdecimal():
        detail = "a valid percent string must be a numeric string followed by an ending '%'"
        return [invalid(path, value, detail)]
    return [] if int(digits) <= 100 else [invalid(path, value, "must not be greater than 100%")]


def validate_budget(subject: PodDisruptionBudget, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: one of the two bounds."""
    if admission.subresource:
        return ()
    spec = subject.spec or PodDisruptionBudgetSpec()
    errors: list[FieldError] = []
    if spec.min_available is not None and spec.max_unavailable is not None:
        detail = "minAvailable and maxUnavailable cannot be both set"
        errors.append(invalid("", msgspec.to_builtins(spec), detail))
    errors += _amount_errors("minAvailable", spec.min_available)
    errors += _amount_errors("maxUnavailable", spec.max_unavailable)
    if spec.selector is not None and (
        spec.selector.match_labels or spec.selector.match_expressions
    ):
        errors += at("selector", selector_errors(spec.selector))
    policy = spec.unhealthy_pod_eviction_policy
    if policy is not None and policy not in _POLICIES:
        errors.append(not_supported("unhealthyPodEvictionPolicy", policy, _POLICIES))
    return (*metadata_errors(subject.metadata), *at("spec", errors))


def _bound(name: str) -> Any:
    def cell(document: Mapping[str, Any], _: float) -> object:
        value = get(document, "spec", name)
        return "N/A" if value is None else str(value)

    return cell


POD_DISRUPTION_BUDGET: Kind[PodDisruptionBudget] = Kind(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    singular="poddisruptionbudget",
    short_names=("pdb",),
    builtin=True,
    model=PodDisruptionBudget,
    age=False,
    columns=(
        Column("Min Available", "string", _bound("minAvailable")),
        Column("Max Unavailable", "string", _bound("maxUnavailable")),
        Column("Allowed Disruptions", "integer", number("status", "disruptionsAllowed")),
        AGE,
    ),
    default=default_budget,
    validate=validate_budget,
)
