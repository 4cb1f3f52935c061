"""Brings stored default roles and bindings up to date without taking anything from them; pure.

Semantics: Kubernetes ``component-helpers/auth/rbac/reconciliation`` as the API server uses it at start:
what is missing is added, what a user added stays, and an object whose annotation
``rbac.authorization.kubernetes.io/autoupdate`` is "false" is left alone.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from knarr.apiserver.authorization.defaults import AUTOUPDATE
from knarr.meta.objects import ObjectMeta
from knarr.resources.rbac.binding import ClusterRoleBinding
from knarr.resources.rbac.role import AggregationRule, ClusterRole, PolicyRule
from knarr.resources.rbac.rules import missing_rules


def merge_role(stored: ClusterRole, expected: ClusterRole) -> ClusterRole:
    """The stored role with everything that the expected one has; the stored one when it has it all."""
    if stored.metadata.annotation(AUTOUPDATE) == "false":
        return stored
    aggregation = stored.aggregation_rule
    if expected.aggregation_rule is not None:
        held = aggregation.cluster_role_selectors if aggregation is not None else ()
        lacking = tuple(
            selector
            for selector in expected.aggregation_rule.cluster_role_selectors
            if selector not in held
        )
        aggregation = AggregationRule(cluster_role_selectors=(*held, *lacking))
    rules: tuple[PolicyRule, ...] = stored.rules
    if aggregation is None:
        rules = (*rules, *missing_rules(rules, expected.rules))
    return replace(
        stored,
        metadata=_merge_metadata(stored.metadata, expected.metadata),
        rules=rules,
        aggregation_rule=aggregation,
    )


def merge_binding(
    stored: ClusterRoleBinding, expected: ClusterRoleBinding
) -> ClusterRoleBinding | None:
    """As ``merge_role``; None when it binds another role, which only a new binding can mend."""
    if stored.metadata.annotation(AUTOUPDATE) == "false":
        return stored
    if stored.role_ref != expected.role_ref:
        return None
    lacking = tuple(subject for subject in expected.subjects if subject not in stored.subjects)
    return replace(
        stored,
        metadata=_merge_metadata(stored.metadata, expected.metadata),
        subjects=(*stored.subjects, *lacking),
    )


def _merge_metadata(stored: ObjectMeta, expected: ObjectMeta) -> ObjectMeta:
    return replace(
        stored,
        labels=_union(stored.labels, expected.labels),
        annotations=_union(stored.annotations, expected.annotations),
    )


def _union(
    stored: Mapping[str, str] | None, expected: Mapping[str, str] | None
) -> Mapping[str, str] | None:
    """Both; what is stored wins, because somebody may have wanted it."""
    return {**(expected or {}), **(stored or {})} or None
