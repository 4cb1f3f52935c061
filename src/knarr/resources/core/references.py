"""Small structs that point at other objects (Kubernetes ``core/v1``)."""

from collections.abc import Mapping

from knarr.meta.objects import Struct


class LocalObjectReference(Struct, frozen=True, kw_only=True):
    """An object of a known kind in the same namespace."""

    name: str = ""


class ObjectReference(Struct, frozen=True, kw_only=True):
    """Any object."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class Condition(Struct, frozen=True, kw_only=True):
    """A condition as Kubernetes' own kinds write it; which of the times exist depends on the kind."""

    type: str = ""
    status: str = ""
    observed_generation: int | None = None
    last_probe_time: str | None = None
    last_heartbeat_time: str | None = None
    last_update_time: str | None = None
    last_transition_time: str | None = None
    reason: str = ""
    message: str = ""


class LabelSelectorRequirement(Struct, frozen=True, kw_only=True):
    """One expression of a label selector; ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Struct, frozen=True, kw_only=True):
    """``metav1.LabelSelector``: labels that must be equal, and expressions that must hold."""

    match_labels: Mapping[str, str] | None = None
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()
