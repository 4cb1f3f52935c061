"""Namespace (``v1``)."""

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError
from knarr.meta.names import dns1123_label_problems
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import get, text
from knarr.resources.core.references import Condition
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceSpec(Struct, frozen=True, kw_only=True):
    """The finalizers that hold a Namespace until its content is gone."""

    finalizers: tuple[str, ...] = ()


class NamespaceStatus(Struct, frozen=True, kw_only=True):
    """``phase`` is Active or Terminating."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Namespace(Resource, frozen=True, kw_only=True):
    """A scope for names; deleting it deletes everything in it."""

    spec: NamespaceSpec | None = None
    status: NamespaceStatus | None = None


def default_namespace(namespace: Namespace, admission: Admission) -> Namespace:
    """The name as a label; a new Namespace is Active."""
    metadata = namespace.metadata
    if metadata.name:
        labels = {**(metadata.labels or {}), NAME_LABEL: metadata.name}
        metadata = replace(metadata, labels=labels)
    spec = namespace.spec or NamespaceSpec()
    status = namespace.status or NamespaceStatus()
    if admission.operation == "CREATE":
        status = replace(status, phase="Active")
    return replace(namespace, metadata=metadata, spec=spec, status=status)


def prepare_namespace(namespace: Namespace, admission: Admission) -> Namespace:
    """A new Namespace is held by Kubernetes' finalizer."""
    spec = namespace.spec or NamespaceSpec()
    if admission.operation != "CREATE" or "kubernetes" in spec.finalizers:
        return namespace
    return replace(namespace, spec=replace(spec, finalizers=(*spec.finalizers, "kubernetes")))


def validate_namespace(namespace: Namespace, admission: Admission) -> tuple[FieldError, ...]:
    """A namespace's name is a DNS label."""
    if admission.subresource:
        return ()
    return tuple(metadata_errors(namespace.metadata, dns1123_label_problems))


NAMESPACE: Kind[Namespace] = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    short_names=("ns",),
    namespaced=False,
    builtin=True,
    model=Namespace,
    columns=(Column("Status", "string", text("status", "phase")),),
    default=default_namespace,
    prepare=prepare_namespace,
    validate=validate_namespace,
    selectable={"status.phase": lambda doc: get(doc, "status", "phase") or ""},
)
