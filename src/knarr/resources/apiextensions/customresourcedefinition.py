"""CustomResourceDefinition (``apiextensions.k8s.io/v1``).

Every field is absent by default, false and empty values included: a definition is stored as it was
written, with what Kubernetes completes. Schemas are judged where definitions are served
(``knarr.apiserver.definitions``).
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource, Struct
from knarr.resources.apiextensions.jsonschema import JSONSchemaProps
from knarr.resources.columns import text
from knarr.resources.core.references import Condition
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"

NAMES_ACCEPTED = "NamesAccepted"
ESTABLISHED = "Established"
TERMINATING = "Terminating"
APPROVED = "KubernetesAPIApprovalPolicyConformant"


class Names(Struct, frozen=True, kw_only=True):
    """What a kind is called."""

    plural: str | None = None
    singular: str | None = None
    short_names: tuple[str, ...] | None = None
    kind: str | None = None
    list_kind: str | None = None
    categories: tuple[str, ...] | None = None


class ScalePaths(Struct, frozen=True, kw_only=True):
    """Where the replicas of an object are, as JSON paths."""

    spec_replicas_path: str | None = None
    status_replicas_path: str | None = None
    label_selector_path: str | None = None


class Subresources(Struct, frozen=True, kw_only=True):
    """``status`` and ``scale`` as places of their own."""

    status: Mapping[str, Any] | None = None
    scale: ScalePaths | None = None


class PrinterColumn(Struct, frozen=True, kw_only=True):
    """A column of ``kubectl get``."""

    name: str | None = None
    type: str | None = None
    format: str | None = None
    description: str | None = None
    priority: int | None = None
    json_path: str | None = None


class SelectableField(Struct, frozen=True, kw_only=True):
    """A field that field selectors may name."""

    json_path: str | None = None


class Validation(Struct, frozen=True, kw_only=True):
    """The schema of a version's documents."""

    open_apiv3_schema: JSONSchemaProps | None = msgspec.field(default=None, name="openAPIV3Schema")


class Version(Struct, frozen=True, kw_only=True):
    """One version of the kind; exactly one is the one that is stored."""

    name: str | None = None
    served: bool | None = None
    storage: bool | None = None
    deprecated: bool | None = None
    deprecation_warning: str | None = None
    schema: Validation | None = None
    subresources: Subresources | None = None
    additional_printer_columns: tuple[PrinterColumn, ...] | None = None
    selectable_fields: tuple[SelectableField, ...] | None = None


class ServiceReference(Struct, frozen=True, kw_only=True):
    """A Service that answers calls."""

    namespace: str | None = None
    name: str | None = None
    path: str | None = None
    port: int | None = None


class WebhookClientConfig(Struct, frozen=True, kw_only=True):
    """How to call a webhook."""

    url: str | None = None
    service: ServiceReference | None = None
    ca_bundle: str | None = None


class WebhookConversion(Struct, frozen=True, kw_only=True):
    """A webhook that converts between versions."""

    client_config: WebhookClientConfig | None = None
    conversion_review_versions: tuple[str, ...] | None = None


class Conversion(Struct, frozen=True, kw_only=True):
    """How objects get from one version to another: ``None`` rewrites apiVersion alone."""

    strategy: str | None = None
    webhook: WebhookConversion | None = None


class CustomResourceDefinitionSpec(Struct, frozen=True, kw_only=True):
    """What the kind is called, where its objects live, and what they contain."""

    group: str | None = None
    names: Names | None = None
    scope: str | None = None
    versions: tuple[Version, ...] | None = None
    conversion: Conversion | None = None
    preserve_unknown_fields: bool | None = None


class CustomResourceDefinitionStatus(Struct, frozen=True, kw_only=True):
    """Which names it got, whether it is served, and in which versions objects may be stored."""

    conditions: tuple[Condition, ...] | None = None
    accepted_names: Names | None = None
    stored_versions: tuple[str, ...] | None = None


class CustomResourceDefinition(Resource, frozen=True, kw_only=True):
    """A kind that users add to the API."""

    spec: CustomResourceDefinitionSpec | None = None
    status: CustomResourceDefinitionStatus | None = None


def condition_of(definition: CustomResourceDefinition, kind: str) -> Condition | None:
    """One of the definition's conditions, None when it is not there."""
    conditions = definition.status.conditions if definition.status is not None else None
    return next((each for each in conditions or () if each.type == kind), None)


def is_established(definition: CustomResourceDefinition) -> bool:
    """Whether the kind is served."""
    found = condition_of(definition, ESTABLISHED)
    return found is not None and found.status == "True"


def with_condition(
    status: CustomResourceDefinitionStatus, new: Condition, now: str
) -> CustomResourceDefinitionStatus:
    """The status with a condition; its time moves only when its status does.

    Args:
        status: of the definition.
        new: without a time.
        now: RFC 3339.
    """
    conditions = status.conditions or ()
    old = next((each for each in conditions if each.type == new.type), None)
    moved = old is None or old.status != new.status
    since = now if old is None or moved else old.last_transition_time
    placed = replace(new, last_transition_time=since)
    if old is None:
        return replace(status, conditions=(*conditions, placed))
    return replace(status, conditions=tuple(placed if each is old else each for each in conditions))


def default_definition(
    definition: CustomResourceDefinition, admission: Admission
) -> CustomResourceDefinition:
    """Kubernetes' defaults (``pkg/apis/apiextensions/v1/defaults.go``)."""
    spec = definition.spec
    if admission.subresource or spec is None:
        return definition
    names = spec.names
    if names is not None and names.kind:
        names = replace(
            names,
            singular=names.singular or names.kind.lower(),
            list_kind=names.list_kind or f"{names.kind}List",
        )
    versions = spec.versions
    if versions is not None:
        versions = tuple(
            replace(each, served=bool(each.served), storage=bool(each.storage)) for each in versions
        )
    conversion = _default_conversion(spec.conversion)
    return replace(
        definition, spec=replace(spec, names=names, versions=versions, conversion=conversion)
    )


def _default_conversion(conversion: Conversion | None) -> Conversion:
    if conversion is None:
        return Conversion(strategy="None")
    webhook = conversion.webhook
    client = webhook.client_config if webhook is not None else None
    if webhook is None or client is None or client.service is None or client.service.port:
        return conversion
    client = replace(client, service=replace(client.service, port=443))
    return replace(conversion, webhook=replace(webhook, client_config=client))


def validate_definition(
    definition: CustomResourceDefinition, admission: Admission
) -> tuple[FieldError, ...]:
    """The metadata alone; the rest is judged where definitions are served."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    return tuple(metadata_errors(definition.metadata))


CUSTOM_RESOURCE_DEFINITION: Kind[CustomResourceDefinition] = Kind(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    namespaced=False,
    builtin=True,
    model=CustomResourceDefinition,
    columns=(Column("Created At", "date", text("metadata", "creationTimestamp")),),
    age=False,
    default=default_definition,
    validate=validate_definition,
)
