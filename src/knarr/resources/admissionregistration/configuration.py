"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource
from knarr.resources.admissionregistration.validation import webhooks_errors
from knarr.resources.admissionregistration.webhook import (
    MutatingWebhook,
    ValidatingWebhook,
    default_mutating,
    default_webhook,
    defaulted,
)
from knarr.resources.columns import items
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

GROUP = "admissionregistration.k8s.io"


class MutatingWebhookConfiguration(Resource, frozen=True, kw_only=True):
    """Webhooks that may change objects, asked one after another."""

    webhooks: tuple[MutatingWebhook, ...] = ()


class ValidatingWebhookConfiguration(Resource, frozen=True, kw_only=True):
    """Webhooks that agree or refuse, asked all at once."""

    webhooks: tuple[ValidatingWebhook, ...] = ()


def default_mutating_configuration(
    subject: MutatingWebhookConfiguration, _: Admission
) -> MutatingWebhookConfiguration:
    """Kubernetes' defaults."""
    return replace(subject, webhooks=defaulted(subject.webhooks, default_mutating))


def default_validating_configuration(
    subject: ValidatingWebhookConfiguration, _: Admission
) -> ValidatingWebhookConfiguration:
    """Kubernetes' defaults."""
    return replace(subject, webhooks=defaulted(subject.webhooks, default_webhook))


def validate_configuration(
    subject: MutatingWebhookConfiguration | ValidatingWebhookConfiguration, _: Admission
) -> tuple[FieldError, ...]:
    """Kubernetes' rules; expressions are checked by those who evaluate them."""
    return (*metadata_errors(subject.metadata), *webhooks_errors(subject.webhooks))


def _count(document: Mapping[str, Any], _: float) -> object:
    return len(items(document, "webhooks"))


MUTATING_WEBHOOK_CONFIGURATION: Kind[MutatingWebhookConfiguration] = Kind(
    group=GROUP,
    version="v1",
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    singular="mutatingwebhookconfiguration",
    categories=("api-extensions",),
    namespaced=False,
    builtin=True,
    has_status=False,
    model=MutatingWebhookConfiguration,
    columns=(Column("Webhooks", "integer", _count),),
    default=default_mutating_configuration,
    validate=validate_configuration,
)

VALIDATING_WEBHOOK_CONFIGURATION: Kind[ValidatingWebhookConfiguration] = Kind(
    group=GROUP,
    version="v1",
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    singular="validatingwebhookconfiguration",
    categories=("api-extensions",),
    namespaced=False,
    builtin=True,
    has_status=False,
    model=ValidatingWebhookConfiguration,
    columns=(Column("Webhooks", "integer", _count),),
    default=default_validating_configuration,
    validate=validate_configuration,
)
