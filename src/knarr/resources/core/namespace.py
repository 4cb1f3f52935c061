"""Namespace (``v1``)."""

from knarr.meta.objects import Resource, Struct
from knarr.resources.core.references import Condition
from knarr.resources.kind import Kind


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
)
