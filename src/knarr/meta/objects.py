"""The envelope of every API object: type, metadata, owner references.

Fields follow ``metav1.ObjectMeta`` of Kubernetes. A default in a Struct always means *absent*; what the
API defaults to is written by the defaulting functions of ``knarr.resources``, never by a field default,
because ``omit_defaults`` would drop it from the encoded document.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec


class Key(NamedTuple):
    """Where an object of a known kind lives; ``namespace`` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def parse_key(text: str) -> Key:
    """The inverse of ``str(key)``."""
    namespace, _, name = text.rpartition("/")
    return Key(namespace, name)


class Struct(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", dict=False
):
    """Base of every typed piece of an API document: immutable, camelCase on the wire.

    Subclasses repeat ``frozen=True, kw_only=True``: type checkers need it.
    """


class OwnerReference(Struct, frozen=True, kw_only=True):
    """``metav1.OwnerReference``; the garbage collector matches by ``uid``."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Struct, frozen=True, kw_only=True):
    """``metav1.ObjectMeta``. The server owns uid, times, generation and resourceVersion."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None
    finalizers: tuple[str, ...] | None = None
    managed_fields: tuple[Any, ...] | None = None
    self_link: str = ""

    def label(self, key: str, default: str = "") -> str:
        """One label's value."""
        return self.labels.get(key, default) if self.labels else default

    def annotation(self, key: str, default: str = "") -> str:
        """One annotation's value."""
        return self.annotations.get(key, default) if self.annotations else default


class Resource(Struct, frozen=True, kw_only=True):
    """An API object: what every kind's model inherits from."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()

    @property
    def key(self) -> Key:
        """The namespace and name of this object."""
        return Key(self.metadata.namespace, self.metadata.name)

    @property
    def deleting(self) -> bool:
        """Whether a client asked for deletion and a finalizer or a grace period still holds it."""
        return self.metadata.deletion_timestamp is not None


def controller_of(resource: Resource) -> OwnerReference | None:
    """The owner reference with ``controller: true``, of which there is at most one."""
    for reference in resource.metadata.owner_references or ():
        if reference.controller:
            return reference
    return None


def owner_reference(owner: Resource) -> OwnerReference:
    """A controlling, deletion-blocking reference to ``owner`` (``metav1.NewControllerRef``)."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )
