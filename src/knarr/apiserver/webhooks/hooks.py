"""Webhooks of configurations, ready for use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from knarr.apiserver.webhooks.conditions import Condition, compile_condition
from knarr.meta.selectors import LabelSelector
from knarr.resources.admissionregistration.configuration import (
    MutatingWebhookConfiguration,
    ValidatingWebhookConfiguration,
)
from knarr.resources.admissionregistration.webhook import (
    DEFAULT_TIMEOUT_S,
    MutatingWebhook,
    RuleWithOperations,
    ValidatingWebhook,
    WebhookClientConfig,
)
from knarr.resources.core.references import LabelSelector as SelectorDocument
from knarr.resources.core.references_validation import compile_selector


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """One webhook.

    Attributes:
        identity: unique among all webhooks of one sort.
        ignores_failures: a webhook that cannot be asked is left out instead of refusing.
        exact: rules name versions exactly; otherwise other versions of the same objects match too.
        harmless: may be asked on dry run.
        again: may be asked once more when later webhooks changed the object.
    """

    identity: tuple[str, int]
    name: str
    client: WebhookClientConfig
    rules: tuple[RuleWithOperations, ...]
    namespaces: LabelSelector
    objects: LabelSelector
    conditions: tuple[Condition, ...]
    ignores_failures: bool
    exact: bool
    harmless: bool
    timeout_s: int
    versions: tuple[str, ...]
    again: bool


def hooks_of(
    configurations: Sequence[MutatingWebhookConfiguration | ValidatingWebhookConfiguration],
) -> tuple[Hook, ...]:
    """The webhooks in the order in which they are asked."""
    ordered = sorted(configurations, key=lambda each: each.metadata.name)
    return tuple(
        _hook(webhook, (configuration.metadata.name, index))
        for configuration in ordered
        for index, webhook in enumerate(configuration.webhooks)
    )


def _hook(webhook: ValidatingWebhook, identity: tuple[str, int]) -> Hook:
    again = isinstance(webhook, MutatingWebhook) and webhook.reinvocation_policy == "IfNeeded"
    return Hook(
        identity=identity,
        name=webhook.name,
        client=webhook.client_config,
        rules=webhook.rules,
        namespaces=_selector(webhook.namespace_selector),
        objects=_selector(webhook.object_selector),
        conditions=tuple(
            compile_condition(each.name, each.expression) for each in webhook.match_conditions
        ),
        ignores_failures=webhook.failure_policy == "Ignore",
        exact=webhook.match_policy == "Exact",
        harmless=webhook.side_effects in ("None", "NoneOnDryRun"),
        timeout_s=webhook.timeout_seconds or DEFAULT_TIMEOUT_S,
        versions=webhook.admission_review_versions,
        again=again,
    )


def _selector(selector: SelectorDocument | None) -> LabelSelector:
    return LabelSelector() if selector is None else compile_selector(selector)


def concerns_configurations(kind: Any) -> bool:
    """Whether objects of a kind are webhook configurations, which no webhook is asked about."""
    return bool(kind.group == "admissionregistration.k8s.io")
