"""Takes in objects that nobody controls and that a selector means, and lets go those that it does not.

An owner is read from the API itself before it takes anything in: under an owner that is already gone the
garbage collector would delete what was just adopted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from knarr.kube.cache import Change, Handler
from knarr.kube.client import Client
from knarr.kube.handlers import Add
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Resource, controller_of, owner_reference
from knarr.meta.selectors import LabelSelector
from knarr.resources.core.references_validation import compile_selector
from knarr.resources.kind import Kind

ORPHANS = "orphans"
"""Name of the index of objects without a controller, by namespace."""

C = TypeVar("C", bound=Resource)


def orphan_keys(subject: Resource) -> Iterable[str]:
    """Index function: the namespace of an object that nobody controls."""
    return () if controller_of(subject) is not None else (subject.metadata.namespace,)


def enqueue_adopters(add: Add, owners: Informer[Any]) -> Handler[Any]:
    """Handler of an object's changes: enqueue the owners that may take it in, when it has none.

    ``owners`` is of a kind with ``spec.selector``.
    """

    def handle(change: Change[Any]) -> None:
        child = change.new
        if child is None or child.deleting or controller_of(child) is not None:
            return
        old = change.old
        if (
            old is not None
            and controller_of(old) is None
            and old.metadata.labels == child.metadata.labels
        ):
            return
        for owner in owners.list(change.key.namespace):
            selector = owner.spec.selector if owner.spec is not None else None
            if selector is not None and compile_selector(selector).matches(
                child.metadata.labels or {}
            ):
                add(owner.key)

    return handle


@dataclass(frozen=True, slots=True)
class Adoption(Generic[C]):
    """Between the objects of one kind and their owners of another.

    Attributes:
        client: for writing.
        owner_kind: of the owners.
        children: informer of what is owned, with the index of ``orphan_keys``.
    """

    client: Client
    owner_kind: Kind[Any]
    children: Informer[C]

    async def adopt(self, owner: Resource, selector: LabelSelector) -> None:
        """Become the controller of every orphan that the selector means.

        Raises:
            StatusError: a request failed; Conflict when an orphan changed meanwhile.
        """
        found = [
            child
            for child in self.children.by_index(ORPHANS, owner.metadata.namespace)
            if not child.deleting and selector.matches(child.metadata.labels)
        ]
        if not found or not await self._alive(owner):
            return
        for child in found:
            references = [
                *(msgspec.to_builtins(one) for one in child.metadata.owner_references or ()),
                msgspec.to_builtins(owner_reference(owner)),
            ]
            await self._write(child, references)

    async def release(self, owner: Resource, child: C) -> None:
        """Stop being the controller of an object; it lives on.

        Raises:
            StatusError: the request failed.
        """
        references = [
            msgspec.to_builtins(one)
            for one in child.metadata.owner_references or ()
            if one.uid != owner.metadata.uid
        ]
        await self._write(child, references)

    async def _alive(self, owner: Resource) -> bool:
        try:
            fresh: Resource = await self.client.get(self.owner_kind, owner.key)
        except NotFound:
            return False
        return fresh.metadata.uid == owner.metadata.uid and not fresh.deleting

    async def _write(self, child: C, references: list[Any]) -> None:
        patch = {
            "metadata": {
                "uid": child.metadata.uid,
                "resourceVersion": child.metadata.resource_version,
                "ownerReferences": references or None,
            }
        }
        kind = self.children.kind
        try:
            self.children.observe(await self.client.patch(kind, child.key, patch))
        except NotFound:
            self.children.forget(child.key, child.metadata.uid)
