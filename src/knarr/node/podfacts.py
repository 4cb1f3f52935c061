"""What the node knows of a Pod when it builds it, and the fields that containers may ask for. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from knarr.node.bundle import BadContainer
from knarr.node.quantities import parse_quantity, whole_units
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.container import Container
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.secret import Secret
from knarr.resources.core.service import Service
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.core.volume import (
    DownwardApiFile,
    ObjectFieldSelector,
    ResourceFieldSelector,
)

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_IDENTITY_FIELDS = ("metadata.name", "metadata.uid", "metadata.annotations")


@dataclass(frozen=True, slots=True)
class TokenQuestion:
    """Which token of a ServiceAccount.

    Attributes:
        audience: empty for the API server.
        seconds: for how long.
        pod, pod_uid: with which it ends; empty for one of the account alone.
    """

    namespace: str
    account: str
    audience: str
    seconds: int
    pod: str = ""
    pod_uid: str = ""


class Sources(Protocol):
    """Reads the objects that Pods refer to, from a cache."""

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """A ConfigMap, or None."""
        ...

    def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret, or None."""
        ...

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim, or None."""
        ...

    def claimed(self, namespace: str, name: str) -> Path:
        """The directory that a claim is bound to.

        Raises:
            BadContainer: there is none.
        """
        ...

    def account(self, namespace: str, name: str) -> ServiceAccount | None:
        """A ServiceAccount, or None."""
        ...

    def linked_services(self, namespace: str, *, links: bool) -> Iterable[Service]:
        """``kubernetes`` and, with ``links``, the Services of a namespace, by name."""
        ...

    def token(self, question: TokenQuestion) -> str:
        """A token that was asked for before.

        Raises:
            BadContainer: it was not.
        """
        ...


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A Pod to be, or one that is.

    Attributes:
        uid: empty while a parked sandbox waits for its Pod.
        capacity: of the node, stands in for limits that are not set.
    """

    namespace: str
    name: str
    spec: PodSpec
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_name: str = ""
    host_ip: str = ""
    pod_ip: str = ""
    capacity: Mapping[str, str] = field(default_factory=dict)

    @property
    def hostname(self) -> str:
        """The name inside."""
        return (self.spec.hostname or self.name)[:63].rstrip("-.")


def field_value(selector: ObjectFieldSelector, facts: PodFacts) -> str:
    """The downward API: one field as text.

    Raises:
        BadContainer: the field is not offered.
    """
    path = selector.field_path
    if match := _SUBSCRIPT.fullmatch(path):
        source = facts.labels if match[1] == "labels" else facts.annotations
        return source.get(match[2], "")
    simple = {
        "metadata.name": facts.name,
        "metadata.namespace": facts.namespace,
        "metadata.uid": facts.uid,
        "metadata.labels": _format_map(facts.labels),
        "metadata.annotations": _format_map(facts.annotations),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": facts.spec.service_account_name,
        "status.hostIP": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    if path not in simple:
        raise BadContainer(f"fieldRef {path!r} is not supported")
    return simple[path]


def _format_map(entries: Mapping[str, str]) -> str:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    return "\n".join(f"{name}={quote(value)}" for name, value in sorted(entries.items()))


def resource_value(selector: ResourceFieldSelector, container: Container, facts: PodFacts) -> str:
    """The downward API: a limit or request, in units of ``divisor``, rounded up.

    Raises:
        BadContainer: no such resource, container or divisor.
    """
    if selector.container_name:
        found = (one for one in facts.spec.containers if one.name == selector.container_name)
        container = next(found, container)
    kind, _, name = selector.resource.partition(".")
    resources = container.resources
    table = {
        "limits": resources.limits if resources else None,
        "requests": resources.requests if resources else None,
    }
    if kind not in table or not name:
        raise BadContainer(f"resourceFieldRef {selector.resource!r} is not supported")
    fallback = facts.capacity.get(name, "0") if kind == "limits" else "0"
    quantity = (table[kind] or {}).get(name, fallback)
    divisor = parse_quantity(selector.divisor or 1) or Decimal(1)
    return str(whole_units(quantity, divisor))


def needs_identity(spec: PodSpec) -> bool:
    """Whether containers read fields that only the final Pod object has: nothing can stand in for it."""
    return any(
        selector.field_path.startswith(_IDENTITY_FIELDS) for selector in _field_selectors(spec)
    )


def _field_selectors(spec: PodSpec) -> Iterator[ObjectFieldSelector]:
    for container in (*spec.init_containers, *spec.containers):
        for variable in container.env:
            if variable.value_from is not None and variable.value_from.field_ref is not None:
                yield variable.value_from.field_ref
    for item in downward_files(spec):
        if item.field_ref is not None:
            yield item.field_ref


def downward_files(spec: PodSpec) -> Iterator[DownwardApiFile]:
    """The files of volumes that hold fields of the Pod."""
    for volume in spec.volumes:
        if volume.downward_api is not None:
            yield from volume.downward_api.items
        for projection in volume.projected.sources if volume.projected else ():
            if projection.downward_api is not None:
                yield from projection.downward_api.items


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a Pod needs: ``kind`` is ConfigMap, Secret or PersistentVolumeClaim."""

    kind: str
    name: str


def references(spec: PodSpec) -> frozenset[Reference]:
    """Every ConfigMap, Secret and claim that a Pod's containers and volumes need."""
    return frozenset((*_environment_references(spec), *_volume_references(spec)))


def _environment_references(spec: PodSpec) -> Iterator[Reference]:
    for container in (*spec.init_containers, *spec.containers):
        for origin in container.env_from:
            if origin.config_map_ref:
                yield Reference("ConfigMap", origin.config_map_ref.name)
            if origin.secret_ref:
                yield Reference("Secret", origin.secret_ref.name)
        for variable in container.env:
            source = variable.value_from
            if source and source.config_map_key_ref:
                yield Reference("ConfigMap", source.config_map_key_ref.name)
            if source and source.secret_key_ref:
                yield Reference("Secret", source.secret_key_ref.name)


def _volume_references(spec: PodSpec) -> Iterator[Reference]:
    for volume in spec.volumes:
        if volume.config_map:
            yield Reference("ConfigMap", volume.config_map.name)
        if volume.secret:
            yield Reference("Secret", volume.secret.secret_name)
        if volume.persistent_volume_claim:
            claim = volume.persistent_volume_claim.claim_name
            yield Reference("PersistentVolumeClaim", claim)
        for projection in volume.projected.sources if volume.projected else ():
            if projection.config_map:
                yield Reference("ConfigMap", projection.config_map.name)
            if projection.secret:
                yield Reference("Secret", projection.secret.name)
