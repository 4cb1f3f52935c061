"""Rules of webhooks against their definition, spelled out naively."""

from hypothesis import given
from hypothesis import strategies as st

from knarr.apiserver.webhooks.matching import rule_matches
from knarr.meta.objects import Resource
from knarr.resources.admissionregistration.webhook import RuleWithOperations
from knarr.resources.kind import Kind

GROUPS, VERSIONS = ("", "apps"), ("v1", "v1beta1")
PLURALS, SUBRESOURCES = ("pods", "namespaces"), ("", "status", "scale")
OPERATIONS = ("CREATE", "UPDATE", "DELETE")


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3).map(tuple)


TEXTS = [
    f"{plural}{slash}" for plural in (*PLURALS, "*") for slash in ("", "/*", "/status", "/scale")
]
RULES = st.builds(
    RuleWithOperations,
    operations=some(*OPERATIONS, "*"),
    api_groups=some(*GROUPS, "*"),
    api_versions=some(*VERSIONS, "*"),
    resources=some(*TEXTS),
    scope=st.sampled_from((None, "*", "Cluster", "Namespaced")),
)


def covered(rule: RuleWithOperations) -> set[tuple[str, ...]]:
    """Every request that a rule names, one by one."""
    found = set()
    for operation in OPERATIONS:
        for group in GROUPS:
            for version in VERSIONS:
                for plural in PLURALS:
                    for sub in SUBRESOURCES:
                        for namespace in ("", "default"):
                            cluster = namespace == "" or (group, plural) == ("", "namespaces")
                            named = (
                                ("*" in rule.operations or operation in rule.operations)
                                and ("*" in rule.api_groups or group in rule.api_groups)
                                and ("*" in rule.api_versions or version in rule.api_versions)
                                and (rule.scope != "Cluster" or cluster)
                                and (rule.scope != "Namespaced" or not cluster)
                            )
                            texts = {plural, "*"} if not sub else {f"{plural}/{sub}", f"*/{sub}"}
                            texts |= {f"{plural}/*", "*/*"}
                            if named and texts & set(rule.resources):
                                found.add((operation, group, version, plural, sub, namespace))
    return found


@given(RULES)
def test_rules_match_what_they_say(rule: RuleWithOperations) -> None:
    matched = set()
    for operation in OPERATIONS:
        for group in GROUPS:
            for version in VERSIONS:
                for plural in PLURALS:
                    kind = Kind(
                        group=group, version=version, kind="K", plural=plural, model=Resource
                    )
                    for sub in SUBRESOURCES:
                        for namespace in ("", "default"):
                            if rule_matches(rule, kind, namespace, operation, sub):
                                matched.add((operation, group, version, plural, sub, namespace))
    assert matched == covered(rule)
