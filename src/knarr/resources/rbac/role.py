"""Role and ClusterRole (``rbac.authorization.k8s.io/v1``)."""

from collections.abc import Sequence

import msgspec

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import text
from knarr.resources.core.references import LabelSelector
from knarr.resources.core.references_validation import selector_errors
from knarr.resources.fielderrors import invalid, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

GROUP = "rbac.authorization.k8s.io"
ALL = "*"


class PolicyRule(Struct, frozen=True, kw_only=True):
    """Verbs on resources, or on URL paths that are no resources; ``*`` stands for all."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")


class AggregationRule(Struct, frozen=True, kw_only=True):
    """Which ClusterRoles lend their rules."""

    cluster_role_selectors: tuple[LabelSelector, ...] = ()


class Role(Resource, frozen=True, kw_only=True):
    """What may be done in one namespace."""

    rules: tuple[PolicyRule, ...] = ()


class ClusterRole(Resource, frozen=True, kw_only=True):
    """What may be done anywhere, or wherever a RoleBinding refers to it.

    With an ``aggregationRule`` its rules are those of the ClusterRoles that the rule selects.
    """

    rules: tuple[PolicyRule, ...] = ()
    aggregation_rule: AggregationRule | None = None


def path_segment_problems(name: str) -> list[str]:
    """Why a name cannot be a segment of a URL path; empty when it can."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{sign}'" for sign in ("/", "%") if sign in name]


def _rule_errors(rule: PolicyRule, *, namespaced: bool) -> list[FieldError]:
    errors = []
    if not rule.verbs:
        errors.append(required("verbs", "verbs must contain at least one value"))
    urls = list(rule.non_resource_urls)
    if urls:
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            errors.append(invalid("nonResourceURLs", urls, detail))
        if rule.api_groups or rule.resources or rule.resource_names:
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid("nonResourceURLs", urls, detail))
        return errors
    if not rule.api_groups:
        errors.append(required("apiGroups", "resource rules must supply at least one api group"))
    if not rule.resources:
        errors.append(required("resources", "resource rules must supply at least one resource"))
    return errors


def _rules_errors(rules: Sequence[PolicyRule], *, namespaced: bool) -> list[FieldError]:
    return [
        error
        for index, rule in enumerate(rules)
        for error in at(f"rules[{index}]", _rule_errors(rule, namespaced=namespaced))
    ]


def validate_role(role: Role, _: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: a rule has verbs, groups and resources."""
    errors = metadata_errors(role.metadata, path_segment_problems)
    return (*errors, *_rules_errors(role.rules, namespaced=True))


def validate_cluster_role(role: ClusterRole, _: Admission) -> tuple[FieldError, ...]:
    """As ``validate_role``; a rule may name URL paths instead, and other roles may be aggregated."""
    errors = metadata_errors(role.metadata, path_segment_problems)
    errors += _rules_errors(role.rules, namespaced=False)
    if role.aggregation_rule is not None:
        path = "aggregationRule.clusterRoleSelectors"
        selectors = role.aggregation_rule.cluster_role_selectors
        if not selectors:
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            errors.append(required(path, detail))
        for index, selector in enumerate(selectors):
            if selector == LabelSelector():
                continue
            found = selector_errors(selector)
            errors += at(f"{path}[{index}]", found)
            if found:
                errors.append(invalid(f"{path}[{index}]", None, "invalid label selector."))
    return tuple(errors)


_CREATED = (Column("Created At", "date", text("metadata", "creationTimestamp")),)

ROLE: Kind[Role] = Kind(
    group=GROUP,
    version="v1",
    kind="Role",
    plural="roles",
    singular="role",
    builtin=True,
    has_status=False,
    model=Role,
    columns=_CREATED,
    age=False,
    validate=validate_role,
)

CLUSTER_ROLE: Kind[ClusterRole] = Kind(
    group=GROUP,
    version="v1",
    kind="ClusterRole",
    plural="clusterroles",
    singular="clusterrole",
    namespaced=False,
    builtin=True,
    has_status=False,
    model=ClusterRole,
    columns=_CREATED,
    age=False,
    validate=validate_cluster_role,
)
