"""What a set of rules allows, and whether one set contains another; pure.

Semantics: Kubernetes ``pkg/apis/rbac/v1`` (matching) and ``component-helpers/auth/rbac/validation``
(covering).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from knarr.meta.errors import KnarrError
from knarr.resources.core.references_validation import compile_selector
from knarr.resources.rbac.role import ALL, ClusterRole, PolicyRule

MAX_PARTS = 5_000
MAX_COMPARISONS = 500_000


def matches_resource(
    rule: PolicyRule, verb: str, group: str, resource: str, subresource: str, name: str
) -> bool:
    """Whether a rule allows a verb on a resource; ``name`` is empty when the request names none."""
    if verb not in rule.verbs and ALL not in rule.verbs:
        return False
    if group not in rule.api_groups and ALL not in rule.api_groups:
        return False
    if rule.resource_names and name not in rule.resource_names:
        return False
    return _resource_listed(rule.resources, resource, subresource)


def _resource_listed(resources: Sequence[str], resource: str, subresource: str) -> bool:
    if ALL in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def matches_url(rule: PolicyRule, verb: str, path: str) -> bool:
    """Whether a rule allows a verb on a URL path that is no resource."""
    if verb not in rule.verbs and ALL not in rule.verbs:
        return False
    return any(_url_matches(url, path) for url in rule.non_resource_urls)


def _url_matches(pattern: str, path: str) -> bool:
    if pattern in (ALL, path):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


class TooManyParts(KnarrError):
    """Rules name more combinations of groups, resources, names and verbs than are worth comparing."""


def missing_rules(held: Sequence[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The parts of ``wanted`` that ``held`` does not contain, one verb of one resource each.

    Raises:
        TooManyParts: there are more than ``MAX_PARTS`` to look at one by one, or comparing would take
            more than ``MAX_COMPARISONS``; nobody else is served meanwhile.
    """
    wanted = tuple(wanted)
    if len(held) * len(wanted) > MAX_COMPARISONS:
        raise TooManyParts(f"more than {MAX_COMPARISONS} comparisons")
    open_rules = [rule for rule in wanted if not any(_covers(mine, rule) for mine in held)]
    count = sum(_part_count(rule) for rule in open_rules)
    if count > MAX_PARTS or count * len(held) > MAX_COMPARISONS:
        raise TooManyParts(f"{count} combinations to compare with {len(held)} rules")
    parts = dict.fromkeys(part for rule in open_rules for part in _break_down(rule))
    return [part for part in parts if not any(_covers(mine, part) for mine in held)]


def _part_count(rule: PolicyRule) -> int:
    named = len(rule.api_groups) * len(rule.resources) * max(1, len(rule.resource_names))
    return len(rule.verbs) * (named + len(rule.non_resource_urls))


def _break_down(rule: PolicyRule) -> Iterator[PolicyRule]:
    for group, resource, verb in product(rule.api_groups, rule.resources, rule.verbs):
        for name in rule.resource_names or (None,):
            yield PolicyRule(
                verbs=(verb,),
                api_groups=(group,),
                resources=(resource,),
                resource_names=() if name is None else (name,),
            )
    for url, verb in product(rule.non_resource_urls, rule.verbs):
        yield PolicyRule(verbs=(verb,), non_resource_urls=(url,))


def _covers(rule: PolicyRule, part: PolicyRule) -> bool:
    if not _has_all(rule.verbs, part.verbs):
        return False
    if part.non_resource_urls:
        return all(
            any(_url_matches(pattern, url) for pattern in rule.non_resource_urls)
            for url in part.non_resource_urls
        )
    if rule.resource_names and not (
        part.resource_names and set(part.resource_names) <= set(rule.resource_names)
    ):
        return False
    return _has_all(rule.api_groups, part.api_groups) and all(
        _resource_covered(rule.resources, resource) for resource in part.resources
    )


def _has_all(held: Sequence[str], wanted: Sequence[str]) -> bool:
    return ALL in held or set(wanted) <= set(held)


def _resource_covered(held: Sequence[str], wanted: str) -> bool:
    if ALL in held or wanted in held:
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and f"*/{subresource}" in held


def describe_missing(parts: Sequence[PolicyRule]) -> str:
    """Missing rules for people, one per line; verbs on the same resource share a line."""
    merged: dict[PolicyRule, list[str]] = {}
    for part in parts:
        bare = PolicyRule(
            api_groups=part.api_groups,
            resources=part.resources,
            resource_names=part.resource_names,
            non_resource_urls=part.non_resource_urls,
            verbs=part.verbs if part.non_resource_urls else (),
        )
        merged.setdefault(bare, []).extend(part.verbs)
    return "\n".join(sorted(_describe(bare, verbs) for bare, verbs in merged.items()))


def _describe(rule: PolicyRule, verbs: Sequence[str]) -> str:
    parts = (
        ("APIGroups", rule.api_groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.non_resource_urls),
        ("ResourceNames", rule.resource_names),
        ("Verbs", verbs),
    )
    return (
        "{" + ", ".join(f"{name}:{quoted_list(values)}" for name, values in parts if values) + "}"
    )


def quoted_list(values: Iterable[str]) -> str:
    """Strings as Go's ``%q`` shows a slice: ``["a" "b"]``."""
    return "[" + " ".join(f'"{value}"' for value in values) + "]"


def aggregated_rules(role: ClusterRole, roles: Iterable[ClusterRole]) -> tuple[PolicyRule, ...]:
    """The rules of an aggregated role: those of the roles it selects, by name, each once."""
    if role.aggregation_rule is None:
        return role.rules
    rules: dict[PolicyRule, None] = {}
    by_name = sorted(roles, key=lambda other: other.metadata.name)
    for item in role.aggregation_rule.cluster_role_selectors:
        selector = compile_selector(item)
        for each in by_name:
            if each.metadata.name != role.metadata.name and selector.matches(each.metadata.labels):
                rules.update(dict.fromkeys(each.rules))
    return tuple(rules)
