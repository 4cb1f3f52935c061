"""The typed client: the only thing through which controllers write.

Every method is one request (``list`` follows continue tokens) and raises the ``StatusError`` that the
server answered. Nothing is cached or retried here: reading is the informers' work, retrying the
controller's.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec

from knarr.kube.apply import plan_apply
from knarr.kube.codec import Codec
from knarr.kube.transport import JSON, MERGE_PATCH, Transport
from knarr.meta.errors import AlreadyExists, Terminal
from knarr.meta.objects import Key, Resource, controller_of, owner_reference
from knarr.resources.kind import Admission, Kind, UserInfo

T = TypeVar("T", bound=Resource)
T_co = TypeVar("T_co", bound=Resource, covariant=True)
Propagation = Literal["Background", "Foreground", "Orphan"]


class NotOwned(Terminal):
    """A child's name is taken by an object of someone else (Knative's ``NotOwned``)."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """All objects of a list and the version of the store that they were read at."""

    items: tuple[T_co, ...]
    resource_version: str

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class Applied(Generic[T_co]):
    """The child as it is stored now, and whether this call wrote."""

    subject: T_co
    changed: bool


class _TypeMeta(msgspec.Struct, frozen=True):
    kind: str = ""


class Client:
    """Requests to a Kubernetes API by kind, over any transport."""

    __slots__ = ("codec", "transport")

    def __init__(self, transport: Transport, codec: Codec | None = None) -> None:
        self.transport = transport
        self.codec = codec or Codec()

    async def get(self, kind: Kind[T], key: Key) -> T:
        """One object.

        Raises:
            NotFound: there is none of that name.
        """
        return self.codec.decode(kind, await self.transport.request("GET", kind.object_path(key)))

    async def list(
        self,
        kind: Kind[T],
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> Page[T]:
        """All objects of one namespace or, empty, of all."""
        query = selector_query(label_selector, field_selector)
        items: list[T] = []
        while True:
            body = await self.transport.request("GET", kind.collection_path(namespace), query=query)
            page = self.codec.decode_list(body)
            items.extend(self.codec.decode(kind, item) for item in page.items or ())
            if not page.metadata.continue_:
                return Page(tuple(items), page.metadata.resource_version)
            query = {**query, "continue": page.metadata.continue_}

    async def each(
        self, kind: Kind[T], namespace: str = "", *, page_size: int = 500
    ) -> AsyncIterator[T]:
        """All objects of one namespace or of all, one by one; a page of them is in memory."""
        query = {"limit": str(page_size)}
        while True:
            body = await self.transport.request("GET", kind.collection_path(namespace), query=query)
            page = self.codec.decode_list(body)
            for item in page.items or ():
                yield self.codec.decode(kind, item)
            if not page.metadata.continue_:
                return
            query = {**query, "continue": page.metadata.continue_}

    async def create(self, kind: Kind[T], subject: T) -> T:
        """Store a new object; ``metadata.namespace`` says where.

        Raises:
            AlreadyExists: the name is taken.
            Invalid: validation refused it.
        """
        body = await self.transport.request(
            "POST",
            kind.collection_path(subject.metadata.namespace),
            body=self.codec.encode(kind, subject),
        )
        return self.codec.decode(kind, body)

    async def update(self, kind: Kind[T], subject: T) -> T:
        """Replace an object, status excepted.

        Fields that the model does not know are lost: for objects of foreign kinds use ``patch``.

        Raises:
            Conflict: it changed since ``subject`` was read.
        """
        return await self.replace(kind, subject)

    async def update_status(self, kind: Kind[T], subject: T) -> T:
        """Replace an object's status and nothing else.

        Raises:
            Conflict: it changed since ``subject`` was read.
        """
        return await self.replace(kind, subject, "status")

    async def replace(self, kind: Kind[T], subject: T, subresource: str = "") -> T:
        """PUT an object or one of its subresources that speak of the object itself (``finalize``)."""
        body = await self.transport.request(
            "PUT",
            kind.object_path(subject.key, subresource),
            body=self.codec.encode(kind, subject),
        )
        return self.codec.decode(kind, body)

    async def patch(
        self,
        kind: Kind[T],
        key: Key,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> T:
        """Change part of an object; a ``metadata.resourceVersion`` in a merge patch is a precondition.

        Raises:
            NotFound: there is none of that name.
            Conflict: the precondition failed.
        """
        body = await self.transport.request(
            "PATCH",
            kind.object_path(key, subresource),
            body=self.codec.encode_any(patch),
            content_type=content_type,
        )
        return self.codec.decode(kind, body)

    async def post(
        self, kind: Kind[T], key: Key, subresource: str, document: Mapping[str, Any]
    ) -> None:
        """Create a subresource that is a command: ``binding``, ``eviction``.

        Raises:
            NotFound: there is no object of that name.
            Conflict: the command does not fit the object's state.
        """
        await self.transport.request(
            "POST", kind.object_path(key, subresource), body=self.codec.encode_any(document)
        )

    async def scale(self, kind: Kind[T], key: Key, replicas: int) -> None:
        """Set ``spec.replicas`` through the scale subresource."""
        await self.transport.request(
            "PATCH",
            kind.object_path(key, "scale"),
            body=self.codec.encode_any({"spec": {"replicas": replicas}}),
            content_type=MERGE_PATCH,
        )

    async def delete(
        self,
        kind: Kind[T],
        key: Key,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation | None = None,
        grace_s: int | None = None,
    ) -> T | None:
        """Delete an object.

        Args:
            kind: of the object.
            key: of the object.
            uid: precondition; protects a successor of the same name.
            resource_version: precondition.
            propagation: what happens to dependents; the server's default is Background.
            grace_s: seconds between the signal and the end; 0 removes a Pod at once.

        Returns:
            The object when a finalizer or a grace period still holds it, None when it is gone.

        Raises:
            NotFound: there is none of that name.
            Conflict: a precondition failed.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {name: value for name, value in wanted.items() if value is not None}:
            options["preconditions"] = preconditions
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        body = await self.transport.request(
            "DELETE",
            kind.object_path(key),
            body=self.codec.encode_any(options),
            content_type=JSON,
        )
        if msgspec.json.decode(body, type=_TypeMeta).kind == "Status":
            return None
        left = self.codec.decode(kind, body)
        return None if _gone(kind, left) else left

    async def apply(
        self,
        kind: Kind[T],
        desired: T,
        *,
        owner: Resource | None = None,
        current: T | None = None,
    ) -> Applied[T]:
        """Make a child exist as desired; no request is sent when ``current`` is right already.

        Only what ``desired`` sets is compared (see ``knarr.kube.apply``); status is never touched.

        Args:
            kind: of the child.
            desired: name, namespace, labels, annotations and spec; its owner references are replaced
                when ``owner`` is given.
            owner: becomes the child's controller.
            current: from a lister. None means probably absent: the child is created, and read when the
                name turns out to be taken.

        Raises:
            NotOwned: the name is taken and ``owner`` is not its controller.
            Conflict: ``current`` was stale.
        """
        if owner is not None:
            metadata = msgspec.structs.replace(
                desired.metadata, owner_references=(owner_reference(owner),)
            )
            desired = msgspec.structs.replace(desired, metadata=metadata)
        if current is None:
            try:
                return Applied(await self.create(kind, desired), changed=True)
            except AlreadyExists:
                current = await self.get(kind, desired.key)
        if owner is not None:
            _require_controller(kind, current, owner)
        patch = self._difference(kind, current, desired)
        if not patch:
            return Applied(current, changed=False)
        return Applied(await self.patch(kind, desired.key, patch), changed=True)

    def _difference(self, kind: Kind[T], current: T, desired: T) -> dict[str, Any]:
        exact = not kind.builtin
        if exact and kind.default is not None:
            admission = Admission(operation="UPDATE", user=UserInfo(name=""), old=current)
            defaulted = kind.default(desired, admission)
            # Only content is defaulted here: annotations about users are the API server's to write.
            desired = msgspec.structs.replace(defaulted, metadata=desired.metadata)
        return plan_apply(self.codec.document(current), self.codec.document(desired), exact=exact)


def _gone(kind: Kind[Any], subject: Resource) -> bool:
    """Whether the object that a DELETE answered with is there no more: some are shown as they were."""
    metadata = subject.metadata
    if metadata.deletion_timestamp is None:
        return True
    at_once = metadata.deletion_grace_period_seconds == 0 and not metadata.finalizers
    return kind.builtin and kind.plural == "pods" and at_once


def _require_controller(kind: Kind[T], child: T, owner: Resource) -> None:
    controller = controller_of(child)
    if controller is None or controller.uid != owner.metadata.uid:
        raise NotOwned(
            "NotOwned",
            f'There is an existing {kind.kind} "{child.metadata.name}" that we do not own.',
        )


def selector_query(label_selector: str, field_selector: str) -> dict[str, str]:
    """The query parameters of a selection; empty selectors are left out."""
    selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in selectors.items() if value}
