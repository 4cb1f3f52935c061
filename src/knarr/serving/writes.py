"""How reconcilers write: a child as its owner wants it, and a status, each only when it differs.

Unlike ``Client.apply`` a child's labels and annotations become exactly the desired ones: what a user
removes from a Service vanishes from its Configuration and Route too. Annotations that the API server or
another controller owns are named in ``keep``. Every answer goes into the informer at once, so that the
next pass does not act on the world before the write.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from knarr.kube.apply import plan_apply
from knarr.kube.client import Client, NotOwned
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists
from knarr.meta.objects import Resource, Struct, controller_of, owner_reference
from knarr.resources.kind import Admission, Kind, UserInfo

T = TypeVar("T", bound=Resource)


@dataclass(frozen=True, slots=True)
class Ensured:
    """What a call to ``ensure_child`` did."""

    created: bool
    changed: bool


class Writer:
    """Writes on behalf of all Serving reconcilers."""

    __slots__ = ("client",)

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ensure_child(
        self,
        informer: Informer[T],
        desired: T,
        owner: Resource,
        *,
        keep: frozenset[str] = frozenset(),
    ) -> tuple[T, Ensured]:
        """Make a child exist as desired; the child as stored and what was done.

        Args:
            informer: of the child's kind.
            desired: name, namespace, labels, annotations and spec, without owner.
            owner: becomes the controller.
            keep: annotations that stay although they are not desired.

        Raises:
            NotOwned: the name is taken by an object that ``owner`` does not control.
            Conflict: the cache was stale.
        """
        kind = informer.kind
        metadata = msgspec.structs.replace(
            desired.metadata, owner_references=(owner_reference(owner),)
        )
        desired = msgspec.structs.replace(desired, metadata=metadata)
        current = informer.get(desired.key)
        if current is None:
            try:
                created = await self.client.create(kind, desired)
            except AlreadyExists:
                current = await self.client.get(kind, desired.key)
            else:
                informer.observe(created)
                return created, Ensured(created=True, changed=True)
        require_controller(kind, current, owner)
        patch = self._patch(kind, current, desired, keep)
        if not patch:
            return current, Ensured(created=False, changed=False)
        patched = await self.client.patch(kind, desired.key, patch)
        informer.observe(patched)
        return patched, Ensured(created=False, changed=True)

    def _patch(self, kind: Kind[T], current: T, desired: T, keep: frozenset[str]) -> dict[str, Any]:
        exact = not kind.builtin
        if exact and kind.default is not None:
            admission = Admission(operation="UPDATE", user=UserInfo(name=""), old=current)
            defaulted = kind.default(desired, admission)
            desired = msgspec.structs.replace(defaulted, metadata=desired.metadata)
        codec = self.client.codec
        patch = plan_apply(codec.document(current), codec.document(desired), exact=exact)
        removed = {
            "labels": _extra(current.metadata.labels, desired.metadata.labels, frozenset()),
            "annotations": _extra(current.metadata.annotations, desired.metadata.annotations, keep),
        }
        if exact and any(removed.values()):
            metadata = patch.setdefault("metadata", {})
            metadata["resourceVersion"] = current.metadata.resource_version
            for field, keys in removed.items():
                if keys:
                    metadata[field] = {**metadata.get(field, {}), **dict.fromkeys(keys)}
        return patch

    async def write_status(self, informer: Informer[T], subject: T, status: Struct) -> bool:
        """Store a status when it differs; whether it did.

        Raises:
            Conflict: the object changed since ``subject`` was read.
        """
        if getattr(subject, "status", None) == status:
            return False
        changed = msgspec.structs.replace(subject, status=status)
        stored = await self.client.update_status(informer.kind, changed)
        informer.observe(stored)
        return True


def _extra(
    have: Mapping[str, str] | None, want: Mapping[str, str] | None, keep: frozenset[str]
) -> list[str]:
    return [key for key in have or () if key not in (want or {}) and key not in keep]


def require_controller(kind: Kind[T], child: T, owner: Resource) -> None:
    """Refuse to touch what is not ours.

    Raises:
        NotOwned: ``owner`` does not control ``child``.
    """
    controller = controller_of(child)
    if controller is None or controller.uid != owner.metadata.uid:
        raise NotOwned(
            "NotOwned",
            f'There is an existing {kind.kind} "{child.metadata.name}" that we do not own.',
        )
