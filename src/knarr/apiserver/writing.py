"""Create and update: from a typed object to a stored document.

Unless a webhook has to be asked, nothing is awaited between reading the newest state and handing the
write to the store: what was decided is what is written. A write that changes nothing changes nothing.
"""

import random
import uuid
from typing import Any

from knarr.apiserver.admission import Admissions
from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.fieldtracking import FieldTracker, keeps_entries, same_but_times
from knarr.apiserver.objectmeta import (
    check_finalizers,
    check_name,
    check_preconditions,
    check_scope,
    check_version_present,
    finished,
    generation_of_update,
    metadata_of_new,
    metadata_of_update,
    replace,
    with_metadata,
)
from knarr.apiserver.request import ApiRequest, ApiResponse, warning_header
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Served
from knarr.meta.errors import BadRequest
from knarr.meta.names import generated_name
from knarr.meta.objects import Key
from knarr.store.records import Entry
from knarr.store.store import Store

_NAME_ATTEMPTS = 8
_MAX_WARNINGS = 100
_MAX_WARNINGS_CHARACTERS = 4096


def written(served: Served, data: bytes, warnings: list[str], status: int = 200) -> ApiResponse:
    """The answer to a write; what exceeds a few kilobytes of warnings is left out."""
    headers: list[tuple[str, str]] = []
    left = _MAX_WARNINGS_CHARACTERS
    for text in warnings[:_MAX_WARNINGS]:
        left -= len(text)
        if left < 0:
            break
        headers.append(warning_header(text))
    return ApiResponse(status, served.shown(data), headers=tuple(headers))


class Writer:
    """Creates and updates objects."""

    def __init__(
        self,
        store: Store,
        bodies: BodyReader,
        admissions: Admissions,
        tracker: FieldTracker,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._bodies = bodies
        self._admissions = admissions
        self._tracker = tracker
        self._rng = rng

    # Create

    async def create(self, route: Route, request: ApiRequest) -> ApiResponse:
        """POST on a collection."""
        body = self._bodies.read(request, route.served)
        return await self.create_subject(route, request, body.subject, body.warnings)

    async def create_subject(
        self,
        route: Route,
        request: ApiRequest,
        subject: Any,
        warnings: list[str],
        *,
        tracked: bool = False,
    ) -> ApiResponse:
        """Create a typed object; ``tracked`` when its managedFields are what they shall be."""
        served = route.served
        self._check_new(route, subject)
        if served.kind.namespaced:
            self._admissions.check_namespace(served, route.namespace, subject.metadata.name)
        new = self._complete(route, subject)
        key = Key(route.namespace, new.metadata.name)
        case = self._admissions.case(served, request, key)
        new = self._admissions.decode_defaults(case, new)
        if not tracked:
            new = self._tracker.created(served, request, new)
        new, more = await self._admissions.admit(case, new)
        if self._store.newest(served.collection, key) is not None:
            raise served.exists(key.name)
        if request.dry_run:
            return written(served, served.encode(new), warnings + more, 201)
        entry = await self._store.create(
            served.collection,
            key,
            new.metadata.uid,
            served.maker(new),
            durable=served.kind.durable,
        )
        return written(served, entry.data, warnings + more, 201)

    @staticmethod
    def _check_new(route: Route, subject: Any) -> None:
        if route.served.closing:
            raise route.served.forbidden(
                subject.metadata.name,
                "create not allowed while custom resource definition is terminating",
            )
        check_scope(subject.metadata, route.namespace)
        if route.served.kind.namespaced and not route.namespace:
            raise BadRequest("a namespace is required in the path to create this object")
        if subject.metadata.resource_version not in ("", "0"):
            raise BadRequest("resourceVersion should not be set on objects to be created")

    def _complete(self, route: Route, subject: Any) -> Any:
        served = route.served
        metadata = metadata_of_new(
            subject.metadata,
            name=self._name(route, subject),
            namespace=route.namespace,
            uid=str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            now=self._admissions.now(),
            generation=1 if served.counts_generation else 0,
        )
        new = replace(subject, metadata=metadata)
        return served.codec.with_status_of(new, None) if served.stores_status else new

    def _name(self, route: Route, subject: Any) -> str:
        """The name that was sent, or a generated one that is free as far as a few draws find one."""
        name: str = subject.metadata.name
        if name or not subject.metadata.generate_name:
            return name
        for _ in range(_NAME_ATTEMPTS):
            name = generated_name(subject.metadata.generate_name, self._rng)
            if self._store.newest(route.served.collection, Key(route.namespace, name)) is None:
                break
        return name

    # Update

    async def update(self, route: Route, request: ApiRequest) -> ApiResponse:
        """PUT on an object or on its ``status``."""
        body = self._bodies.read(request, route.served)
        entry, old = self.stored(route)
        return await self.replace_subject(route, request, entry, old, body.subject, body.warnings)

    def stored(self, route: Route) -> tuple[Entry, Any]:
        """The newest state of the object that a route names, encoded and typed.

        Raises:
            NotFound: there is none.
        """
        entry = self._store.newest(route.served.collection, route.key)
        if entry is None:
            raise route.served.not_found(route.name)
        return entry, route.served.decode(entry.data)

    def present(self, route: Route) -> Entry | None:
        """The newest state of the object that a route names, None when there is none."""
        return self._store.newest(route.served.collection, route.key)

    async def replace_subject(
        self,
        route: Route,
        request: ApiRequest,
        entry: Entry,
        old: Any,
        sent: Any,
        warnings: list[str],
        *,
        tracked: bool = False,
    ) -> ApiResponse:
        """Replace a stored object (or its status) by a typed one.

        ``tracked`` says that the managedFields of ``sent`` are what they shall be.
        """
        served = route.served
        check_scope(sent.metadata, route.namespace)
        check_name(sent.metadata, route.name)
        check_version_present(route, request, sent.metadata)
        check_preconditions(served, sent.metadata, old.metadata)
        new, more = await self._plan(route, request, sent, old)
        if not tracked:
            kept = with_metadata(new, managed_fields=old.metadata.managed_fields)
            if keeps_entries(old, new) and served.encode(kept) == entry.data:
                new = kept
            else:
                new = self._tracker.updated(route, request, old, new)
        return await self.store_change(route, request, entry, old, new, warnings + more)

    async def _plan(
        self, route: Route, request: ApiRequest, sent: Any, old: Any
    ) -> tuple[Any, list[str]]:
        """The new state: what was sent, as far as the place that it was sent to reaches."""
        served = route.served
        sub = "" if route.subresource == "scale" else route.subresource
        entries = sent.metadata.managed_fields
        case = self._admissions.case(served, request, route.key, old, sub)
        if sub == "status":
            # of Kubernetes' own kinds, labels and annotations may be written there too
            metadata = metadata_of_update(sent.metadata, old.metadata)
            if served.collection == "deployments.apps":
                metadata = replace(metadata, labels=old.metadata.labels)
            kept = replace(old, metadata=metadata) if served.kind.builtin else old
            new = served.codec.with_some_status(served.codec.with_status_of(kept, sent))
            new = with_metadata(new, managed_fields=entries)
            return await self._admissions.admit(case, new)
        if sub == "finalize":
            return replace(old, spec=sent.spec), []
        new = replace(sent, metadata=metadata_of_update(sent.metadata, old.metadata))
        if served.stores_status:
            new = served.codec.with_status_of(new, old)
        if served.collection == "namespaces":
            new = replace(new, spec=old.spec)
        new = self._admissions.decode_defaults(case, new)
        new, warnings = await self._admissions.admit(case, new)
        refusal = check_finalizers(served, new.metadata, old.metadata)
        if refusal is not None:
            raise refusal
        return with_metadata(new, generation=generation_of_update(served, new, old)), warnings

    async def store_change(
        self,
        route: Route,
        request: ApiRequest,
        entry: Entry,
        old: Any,
        new: Any,
        warnings: list[str],
    ) -> ApiResponse:
        """Write the new state, or remove the object when nothing holds it any more."""
        served, store = route.served, self._store
        if request.dry_run:
            return written(served, served.encode(new), warnings)
        if finished(served, new):
            final = await store.delete(
                served.collection,
                route.key,
                entry.rv,
                served.maker(new),
                durable=served.kind.durable,
            )
            return written(served, final.data, warnings)
        if same_but_times(served, entry.data, old, new):
            if entry.rv > store.visible_rv(served.collection):
                await store.settle()
            return written(served, entry.data, warnings)
        stored = await store.update(
            served.collection, route.key, entry.rv, served.maker(new), durable=served.kind.durable
        )
        return written(served, stored.data, warnings)
