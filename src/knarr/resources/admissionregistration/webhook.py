"""One webhook of a configuration: its document and its defaults."""

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from knarr.meta.objects import Struct
from knarr.resources.core.references import LabelSelector

DEFAULT_PORT = 443
DEFAULT_TIMEOUT_S = 10


class ServiceReference(Struct, frozen=True, kw_only=True):
    """A Service that answers HTTPS."""

    namespace: str = ""
    name: str = ""
    path: str | None = None
    port: int | None = None


class WebhookClientConfig(Struct, frozen=True, kw_only=True):
    """Where the webhook is: ``url`` or ``service``; ``ca_bundle`` is PEM in base64."""

    url: str | None = None
    service: ServiceReference | None = None
    ca_bundle: str | None = None


class RuleWithOperations(Struct, frozen=True, kw_only=True):
    """Which requests concern the webhook."""

    operations: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str | None = None


class MatchCondition(Struct, frozen=True, kw_only=True):
    """An expression in CEL that must hold for the webhook to be called."""

    name: str = ""
    expression: str = ""


class ValidatingWebhook(Struct, frozen=True, kw_only=True):
    """A webhook that agrees or refuses."""

    name: str = ""
    client_config: WebhookClientConfig = WebhookClientConfig()
    rules: tuple[RuleWithOperations, ...] = ()
    failure_policy: str | None = None
    match_policy: str | None = None
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    side_effects: str | None = None
    timeout_seconds: int | None = None
    admission_review_versions: tuple[str, ...] = ()
    match_conditions: tuple[MatchCondition, ...] = ()


class MutatingWebhook(ValidatingWebhook, frozen=True, kw_only=True):
    """A webhook that may also change the object."""

    reinvocation_policy: str | None = None


W = TypeVar("W", bound=ValidatingWebhook)


def default_webhook(webhook: W) -> W:
    """Kubernetes' defaults."""
    service = webhook.client_config.service
    config = webhook.client_config
    if service is not None and service.port is None:
        config = replace(config, service=replace(service, port=DEFAULT_PORT))
    timeout = webhook.timeout_seconds
    return replace(
        webhook,
        client_config=config,
        rules=tuple(replace(rule, scope=rule.scope or "*") for rule in webhook.rules),
        failure_policy=webhook.failure_policy or "Fail",
        match_policy=webhook.match_policy or "Equivalent",
        namespace_selector=webhook.namespace_selector or LabelSelector(),
        object_selector=webhook.object_selector or LabelSelector(),
        timeout_seconds=DEFAULT_TIMEOUT_S if timeout is None else timeout,
    )


def default_mutating(webhook: MutatingWebhook) -> MutatingWebhook:
    """The defaults of a webhook that may change objects."""
    done = default_webhook(webhook)
    return replace(done, reinvocation_policy=done.reinvocation_policy or "Never")


def defaulted(webhooks: tuple[W, ...], default: Callable[[W], W]) -> tuple[W, ...]:
    """The defaults of all webhooks of a configuration."""
    return tuple(map(default, webhooks))
