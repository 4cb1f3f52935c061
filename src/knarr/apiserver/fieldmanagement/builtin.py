"""Merge schemas of Kubernetes' own kinds.

The structure (which message has which fields) comes from outside; which lists are sets or maps and which
objects are atomic are the facts below. They are those of the ``x-kubernetes-list-type`` and
``x-kubernetes-map-type`` of Kubernetes' published OpenAPI. Everything not named here is a granular object
or an atomic list.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from knarr.apiserver.fieldmanagement.schema import (
    ATOMIC,
    ATOMIC_LIST,
    SCALAR,
    UNTYPED,
    ListRule,
    MapRule,
    MergeSchema,
)


class Field(Protocol):
    """A field of a message: its JSON name, ``one``, ``rep`` or ``map``, and what is inside."""

    @property
    def name(self) -> str:
        """In JSON."""
        ...

    @property
    def shape(self) -> str:
        """``one``, ``rep`` or ``map``."""
        ...

    @property
    def type(self) -> str:
        """A scalar's name or a message."""
        ...

    @property
    def pointer(self) -> bool:
        """Whether the zero value is something else than no value."""
        ...

    @property
    def optional(self) -> bool:
        """Whether an empty value is left out."""
        ...


class Structure(Protocol):
    """The messages of the API."""

    def __contains__(self, message: str) -> bool:
        """Whether there is such a message."""
        ...

    def by_name(self, message: str) -> Iterator[Any]:
        """Its fields (``Field``), those of inline messages included."""
        ...

    def message_of(self, group: str, version: str, kind: str) -> str | None:
        """The message of a kind."""
        ...


_SET: Final = ListRule("set")


def _by(*keys: str, **defaults: object) -> ListRule:
    return ListRule("map", keys, {key: defaults.get(key, "") for key in keys})


_NAME: Final = _by("name")
_TYPE: Final = _by("type")
_MOUNT: Final = _by("mountPath")
_DEVICE: Final = _by("devicePath")
_CONTAINER_PORTS: Final = _by("containerPort", "protocol", containerPort=0, protocol="TCP")

_LISTS: Final[Mapping[str, Mapping[str, ListRule]]] = {
    "meta.ObjectMeta": {"finalizers": _SET, "ownerReferences": _by("uid")},
    "core/v1.PodSpec": {
        "containers": _NAME,
        "initContainers": _NAME,
        "ephemeralContainers": _NAME,
        "volumes": _NAME,
        "imagePullSecrets": _NAME,
        "resourceClaims": _NAME,
        "schedulingGates": _NAME,
        "hostAliases": _by("ip"),
        "topologySpreadConstraints": _by("topologyKey", "whenUnsatisfiable"),
    },
    "core/v1.Container": {
        "env": _NAME,
        "ports": _CONTAINER_PORTS,
        "volumeMounts": _MOUNT,
        "volumeDevices": _DEVICE,
    },
    "core/v1.EphemeralContainer": {
        "env": _NAME,
        "ports": _CONTAINER_PORTS,
        "volumeMounts": _MOUNT,
        "volumeDevices": _DEVICE,
    },
    "core/v1.ContainerRestartRuleOnExitCodes": {"values": _SET},
    "core/v1.ResourceRequirements": {"claims": _NAME},
    "core/v1.PodStatus": {
        "conditions": _TYPE,
        "podIPs": _by("ip"),
        "resourceClaimStatuses": _NAME,
    },
    "core/v1.ContainerStatus": {"allocatedResourcesStatus": _NAME, "volumeMounts": _MOUNT},
    "core/v1.ResourceStatus": {"resources": _by("resourceID")},
    "core/v1.ServiceSpec": {"ports": _by("port", "protocol", port=0, protocol="TCP")},
    "core/v1.ServiceStatus": {"conditions": _TYPE},
    "core/v1.ServiceAccount": {"secrets": ListRule("map", ("name",))},
    "core/v1.NamespaceStatus": {"conditions": _TYPE},
    "core/v1.NodeSpec": {"podCIDRs": _SET},
    "core/v1.NodeStatus": {"conditions": _TYPE, "addresses": _TYPE},
    "core/v1.PersistentVolumeClaimStatus": {"conditions": _TYPE},
    "core/v1.ReplicationControllerStatus": {"conditions": _TYPE},
    "core/v1.ComponentStatus": {"conditions": _TYPE},
    "apps/v1.DeploymentStatus": {"conditions": _TYPE},
    "apps/v1.ReplicaSetStatus": {"conditions": _TYPE},
    "apps/v1.StatefulSetStatus": {"conditions": _TYPE},
    "apps/v1.DaemonSetStatus": {"conditions": _TYPE},
    "autoscaling/v2.HorizontalPodAutoscalerStatus": {"conditions": _TYPE},
    "batch/v1.PodFailurePolicyOnExitCodesRequirement": {"values": _SET},
    "batch/v1.UncountedTerminatedPods": {"failed": _SET, "succeeded": _SET},
    "discovery/v1.Endpoint": {"addresses": _SET},
    "networking/v1.ServiceCIDRStatus": {"conditions": _TYPE},
    "policy/v1.PodDisruptionBudgetStatus": {"conditions": _TYPE},
    "storage/v1.CSIDriverSpec": {"volumeLifecycleModes": _SET},
    "storage/v1.CSINodeSpec": {"drivers": _NAME},
    "apiextensions/v1.CustomResourceDefinitionStatus": {"conditions": _TYPE},
    "admissionregistration/v1.MutatingWebhookConfiguration": {"webhooks": _NAME},
    "admissionregistration/v1.MutatingWebhook": {"matchConditions": _NAME},
    "admissionregistration/v1.ValidatingWebhookConfiguration": {"webhooks": _NAME},
    "admissionregistration/v1.ValidatingWebhook": {"matchConditions": _NAME},
    "admissionregistration/v1.ValidatingAdmissionPolicySpec": {
        "matchConditions": _NAME,
        "variables": _NAME,
    },
    "admissionregistration/v1.ValidatingAdmissionPolicyStatus": {"conditions": _TYPE},
    "admissionregistration/v1.ValidatingAdmissionPolicyBindingSpec": {"validationActions": _SET},
}

_ATOMIC_MESSAGES: Final = frozenset(
    (
        "meta.LabelSelector",
        "meta.OwnerReference",
        "core/v1.ConfigMapKeySelector",
        "core/v1.EndpointAddress",
        "core/v1.EndpointPort",
        "core/v1.FileKeySelector",
        "core/v1.LocalObjectReference",
        "core/v1.NodeSelector",
        "core/v1.NodeSelectorTerm",
        "core/v1.ObjectFieldSelector",
        "core/v1.ObjectReference",
        "core/v1.ResourceFieldSelector",
        "core/v1.ScopeSelector",
        "core/v1.SecretKeySelector",
        "core/v1.SecretReference",
        "core/v1.TopologySelectorTerm",
        "core/v1.TypedLocalObjectReference",
        "autoscaling/v1.CrossVersionObjectReference",
        "discovery/v1.EndpointPort",
        "networking/v1.ServiceBackendPort",
        "rbac/v1.RoleRef",
        "rbac/v1.Subject",
        "admissionregistration/v1.MatchResources",
        "admissionregistration/v1.NamedRuleWithOperations",
        "admissionregistration/v1.ParamKind",
        "admissionregistration/v1.ParamRef",
        "admissionregistration/v1.Variable",
    )
)

_ATOMIC_FIELDS: Final = frozenset(
    (
        ("core/v1.PodSpec", "nodeSelector"),
        ("core/v1.ReplicationControllerSpec", "selector"),
        ("core/v1.ServiceSpec", "selector"),
        ("node/v1.Scheduling", "nodeSelector"),
    )
)

_GRANULAR_FIELDS: Final = frozenset((("core/v1.PersistentVolumeSpec", "claimRef"),))

_FREE: Final[Mapping[str, MergeSchema]] = {
    "Raw": ATOMIC,
    "StrItems": MergeSchema(list=ATOMIC_LIST),
    "JSONSchemaPropsOrArray": UNTYPED,
    "JSONSchemaPropsOrBool": UNTYPED,
    "JSONSchemaPropsOrStringArray": UNTYPED,
    "apiextensions/v1.JSON": ATOMIC,
}


class _Fields(Mapping[str, MergeSchema]):
    """The declared fields of a message, built when first looked at: messages may contain themselves."""

    def __init__(self, catalog: "BuiltinSchemas", message: str, *, root: bool) -> None:
        self._catalog = catalog
        self._message = message
        self._root = root
        self._built: dict[str, MergeSchema] | None = None

    def _fields(self) -> dict[str, MergeSchema]:
        if self._built is None:
            found = self._catalog.fields_of(self._message)
            if self._root:
                found = {"apiVersion": SCALAR, "kind": SCALAR, **found}
            self._built = found
        return self._built

    def __getitem__(self, name: str) -> MergeSchema:
        return self._fields()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fields()

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())


class BuiltinSchemas:
    """Builds and keeps the merge schemas of the kinds that a structure describes."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._messages: dict[tuple[str, bool], MergeSchema] = {}

    def schema(self, group: str, version: str, kind: str) -> MergeSchema | None:
        """The schema of a kind, None when the structure does not have it."""
        message = self._structure.message_of(group, version, kind)
        if message is None:
            return None
        fields = _Fields(self, message, root=True)
        return MergeSchema(map=MapRule(fields=fields))

    def empty(self, group: str, version: str, kind: str) -> dict[str, Any]:
        """What a new object of a kind is before it has any field.

        These are the parts that every document of the kind has; a writer does not own them just
        because the object is new.
        """
        message = self._structure.message_of(group, version, kind)
        return self._present(message) if message is not None else {}

    def _present(self, message: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for field in self._structure.by_name(message):
            if field.pointer or field.shape != "one":
                if not field.optional:
                    result[field.name] = None
            elif field.type in self._structure and field.type not in _FREE:
                result[field.name] = self._present(field.type)
        return result

    def fields_of(self, message: str) -> dict[str, MergeSchema]:
        """The schemas of a message's fields."""
        return {
            field.name: self._field(message, field) for field in self._structure.by_name(message)
        }

    def _field(self, message: str, field: Field) -> MergeSchema:
        place = (message, field.name)
        inner = self._type(field.type, granular=place in _GRANULAR_FIELDS)
        if field.shape == "map":
            return MergeSchema(map=MapRule(values=inner, atomic=place in _ATOMIC_FIELDS))
        if field.shape == "rep":
            rule = _LISTS.get(message, {}).get(field.name, ATOMIC_LIST)
            return MergeSchema(list=ListRule(rule.kind, rule.keys, rule.defaults, inner))
        return inner

    def _type(self, name: str, *, granular: bool) -> MergeSchema:
        if name in _FREE:
            return _FREE[name]
        if name not in self._structure:
            return SCALAR
        known = self._messages.get((name, granular))
        if known is None:
            rule = MapRule(
                fields=_Fields(self, name, root=False),
                atomic=name in _ATOMIC_MESSAGES and not granular,
            )
            known = self._messages[name, granular] = MergeSchema(map=rule)
        return known
