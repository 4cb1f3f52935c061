"""ResourceQuota (``v1``)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.meta.qualified import qualified_name_problems
from knarr.resources.columns import AGE, get
from knarr.resources.core.pod_defaults import canonical_quantities
from knarr.resources.core.volume import Quantity
from knarr.resources.fielderrors import IMMUTABLE, invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors
from knarr.resources.quantity import parse_quantity

_STANDARD = frozenset(
    {
        "cpu", "memory", "ephemeral-storage",
        "requests.cpu", "requests.memory", "requests.ephemeral-storage", "requests.storage",
        "limits.cpu", "limits.memory", "limits.ephemeral-storage",
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
SCOPES = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass")
_OPPOSITE = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_POD_RESOURCES = frozenset(
    {
        "pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
        "count/pods", "requests.ephemeral-storage", "limits.ephemeral-storage", "ephemeral-storage",
    }
)  # fmt: skip


class ScopeExpression(Struct, frozen=True, kw_only=True):
    """One condition on what is counted; ``operator`` is In, NotIn, Exists or DoesNotExist."""

    scope_name: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class ScopeSelector(Struct, frozen=True, kw_only=True):
    """Conditions that must all hold of what is counted."""

    match_expressions: tuple[ScopeExpression, ...] = ()


class ResourceQuotaSpec(Struct, frozen=True, kw_only=True):
    """The most of each resource that a namespace may have, and which Pods count."""

    hard: Mapping[str, Quantity] | None = None
    scopes: tuple[str, ...] = ()
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(Struct, frozen=True, kw_only=True):
    """The limits in force and what is used of them."""

    hard: Mapping[str, Quantity] | None = None
    used: Mapping[str, Quantity] | None = None


class ResourceQuota(Resource, frozen=True, kw_only=True):
    """Limits what all objects of a namespace take together."""

    spec: ResourceQuotaSpec | None = None
    status: ResourceQuotaStatus | None = None


def default_quota(quota: ResourceQuota, admission: Admission) -> ResourceQuota:
    """Canonical quantities."""
    if admission.subresource or quota.spec is None:
        return quota
    spec = replace(quota.spec, hard=canonical_quantities(quota.spec.hard))
    return replace(quota, spec=spec)


def _name_errors(path: str, name: str) -> list[FieldError]:
    problems = [invalid(path, name, problem) for problem in qualified_name_problems(name)]
    if not problems and "/" not in name and name not in _STANDARD:
        problems.append(invalid(path, name, "must be a standard resource for quota"))
    return problems


def _hard_errors(hard: Mapping[str, Quantity]) -> list[FieldError]:
    errors = []
    for name, quantity in hard.items():
        path = f"hard[{name}]"
        errors += _name_errors(path, name)
        try:
            value = parse_quantity(quantity).value
        except ValueError as error:
            errors.append(invalid(path, quantity, str(error)))
            continue
        if value < 0:
            errors.append(invalid(path, quantity, "must be greater than or equal to 0"))
        counted = not name.endswith(("cpu", "memory", "storage"))
        if counted and value != value.to_integral_value():
            errors.append(invalid(path, quantity, "must be an integer"))
    return errors


def _scope_errors(spec: ResourceQuotaSpec) -> list[FieldError]:
    errors = []
    scopes = list(spec.scopes)
    errors += [not_supported("scopes", name, SCOPES) for name in scopes if name not in SCOPES]
    for index, item in enumerate(
        spec.scope_selector.match_expressions if spec.scope_selector else ()
    ):
        path = f"scopeSelector.matchExpressions[{index}]"
        scopes.append(item.scope_name)
        if item.scope_name not in SCOPES:
            errors.append(not_supported(f"{path}.scopeName", item.scope_name, SCOPES))
        elif item.scope_name != "PriorityClass" and item.operator != "Exists":
            text = (
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errors.append(invalid(f"{path}.operator", item.operator, text))
        if item.operator not in _OPERATORS:
            errors.append(
                invalid(f"{path}.operator", item.operator, "not a valid selector operator")
            )
        elif item.operator in ("In", "NotIn") and not item.values:
            text = (
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
            errors.append(required(f"{path}.values", text))
    for pair in _OPPOSITE:
        if set(pair) <= set(scopes):
            errors.append(invalid("scopes", list(spec.scopes), "conflicting scopes"))
    if scopes and not errors:
        errors += [
            invalid("scopes", list(spec.scopes), f"unsupported scope applied to resource {name}")
            for name in spec.hard or {}
            if name not in _POD_RESOURCES
        ]
    return errors


def validate_quota(quota: ResourceQuota, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; the scopes never change."""
    if admission.subresource:
        return ()
    spec = quota.spec or ResourceQuotaSpec()
    errors = _hard_errors(spec.hard or {}) + _scope_errors(spec)
    old = admission.old.spec if isinstance(admission.old, ResourceQuota) else None
    if old is not None and old.scopes != spec.scopes:
        errors.append(invalid("scopes", list(spec.scopes), IMMUTABLE))
    return (*metadata_errors(quota.metadata), *at("spec", errors))


def _cell(*, limits: bool) -> Any:
    def cell(document: Mapping[str, Any], _: float) -> object:
        hard, used = get(document, "status", "hard") or {}, get(document, "status", "used") or {}
        return ", ".join(
            f"{name}: {used.get(name, '0')}/{hard[name]}"
            for name in sorted(hard)
            if name.startswith("limits") == limits
        )

    return cell


RESOURCE_QUOTA: Kind[ResourceQuota] = Kind(
    group="",
    version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    singular="resourcequota",
    short_names=("quota",),
    builtin=True,
    model=ResourceQuota,
    age=False,
    columns=(
        Column("Request", "string", _cell(limits=False)),
        Column("Limit", "string", _cell(limits=True)),
        AGE,
    ),
    default=default_quota,
    validate=validate_quota,
)
