"""What a DomainMapping refers to, and under which name inside that is reached; pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from knarr.meta.objects import Key
from knarr.resources.knative import Addressable
from knarr.resources.serving.domainmapping import (
    DomainMapping,
    DomainMappingSpec,
    KReference,
)

BY_REFERENCE = "reference"
"""Name of the index of DomainMappings by what they refer to."""
BY_DOMAIN = "domain"
"""Name of the index of DomainMappings by their domain, which several namespaces may want."""


@dataclass(frozen=True, slots=True)
class Target:
    """A Service inside.

    Attributes:
        host: its full name.
        service: the name of the object.
    """

    host: str
    service: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why a reference leads nowhere."""

    message: str


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there; ``url`` is its address, empty while it has none."""

    url: str


class _Addressed(Protocol):
    @property
    def address(self) -> Addressable | None: ...


Find = Callable[[Key], Found | None]


def address_of(status: _Addressed | None) -> str:
    """The URL in a status' address."""
    return status.address.url if status is not None and status.address is not None else ""


def reference_value(api_version: str, kind: str, key: Key) -> str:
    """What ``references_of`` files a DomainMapping under that refers to this object."""
    return f"{api_version.rpartition('/')[0]}/{kind}:{key}"


def references_of(mapping: DomainMapping) -> Iterable[str]:
    """Index function of ``BY_REFERENCE``."""
    ref = (mapping.spec or DomainMappingSpec()).ref
    return (reference_value(ref.api_version, ref.kind, Key(ref.namespace, ref.name)),)


def domains_of(mapping: DomainMapping) -> Iterable[str]:
    """Index function of ``BY_DOMAIN``."""
    return (mapping.metadata.name,)


def resolve(
    mapping: DomainMapping, finders: dict[tuple[str, str], tuple[str, Find]], cluster_domain: str
) -> Target | Unresolved:
    """The Service that a DomainMapping refers to.

    Args:
        mapping: with its spec.
        finders: by group and kind: the plural with the group, and how to find one.
        cluster_domain: of names inside.
    """
    ref = (mapping.spec or DomainMappingSpec()).ref
    group = ref.api_version.rpartition("/")[0]
    known = finders.get((group, ref.kind))
    if known is None:
        names = ", ".join(f"{kind}.{group}" if group else kind for group, kind in sorted(finders))
        text = f"a {ref.kind} of {ref.api_version} cannot be mapped to; supported: {names}"
        return Unresolved(text)
    plural, find = known
    key = Key(ref.namespace, ref.name)
    found = find(key)
    if found is None:
        return Unresolved(f'failed to get object {key}: {plural} "{ref.name}" not found')
    if not found.url:
        return Unresolved(f"address not set for {_shown(ref)}")
    return _within(found.url, mapping.metadata.namespace, cluster_domain)


def _shown(ref: KReference) -> str:
    """A reference as Go prints an ObjectReference."""
    return (
        f"&ObjectReference{{Kind:{ref.kind},Namespace:{ref.namespace},Name:{ref.name},UID:,"
        f"APIVersion:{ref.api_version},ResourceVersion:,FieldPath:,}}"
    )


def _within(url: str, namespace: str, cluster_domain: str) -> Target | Unresolved:
    parts = urlsplit(url)
    if parts.path.removesuffix("/"):
        return Unresolved(f'resolved URI "{url}" contains a path')
    suffix = f".svc.{cluster_domain}"
    labels = parts.netloc.removesuffix(suffix).split(".")
    if not parts.netloc.endswith(suffix) or len(labels) != 2:
        text = f'resolved URI "{url}" must be of the form {{name}}.{{namespace}}{suffix}'
        return Unresolved(text)
    if labels[1] != namespace:
        return Unresolved(f'resolved URI "{url}" must be in same namespace as DomainMapping')
    return Target(host=parts.netloc, service=labels[0])
