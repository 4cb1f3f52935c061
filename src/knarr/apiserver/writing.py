"""Create and update: from a typed object to a stored document.

Between reading the newest state and handing the write to the store there is no ``await``: what was
decided is what is written. A write that changes nothing changes nothing.
"""

import random
import uuid
from collections.abc import Callable
from typing import Any

from knarr.apiserver.admission import Admissions
from knarr.apiserver.bodies import BodyReader
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
from knarr.apiserver.served import ENCODER, Served
from knarr.meta.errors import BadRequest, TooLarge
from knarr.meta.names import generated_name
from knarr.meta.objects import Key
from knarr.store.records import Entry
from knarr.store.store import Store

MAX_OBJECT_BYTES = 3 << 19
_NAME_ATTEMPTS = 8


def encode(subject: Any) -> bytes:
    """A document as it is stored.

    Raises:
        TooLarge: it exceeds what an object may weigh.
    """
    data = ENCODER.encode(subject)
    if len(data) > MAX_OBJECT_BYTES:
        raise TooLarge(
            f"the object is {len(data)} bytes long, the limit is {MAX_OBJECT_BYTES} bytes"
        )
    return data


def maker(subject: Any) -> Callable[[int], bytes]:
    """Encodes an object for the version it is given."""

    def make(rv: int) -> bytes:
        return encode(with_metadata(subject, resource_version=str(rv)))

    return make


def written(data: bytes, warnings: list[str], status: int = 200) -> ApiResponse:
    """The answer to a write."""
    return ApiResponse(status, data, headers=tuple(warning_header(text) for text in warnings))


class Writer:
    """Creates and updates objects."""

    def __init__(
        self, store: Store, bodies: BodyReader, admissions: Admissions, rng: random.Random
    ) -> None:
        self._store = store
        self._bodies = bodies
        self._admissions = admissions
        self._rng = rng

    # Create

    async def create(self, route: Route, request: ApiRequest) -> ApiResponse:
        """POST on a collection."""
        body = self._bodies.read(request, route.served)
        return await self.create_subject(route, request, body.subject, body.warnings)

    async def create_subject(
        self, route: Route, request: ApiRequest, subject: Any, warnings: list[str]
    ) -> ApiResponse:
        """Create a typed object; a generated name that is taken is drawn again."""
        served = route.served
        self._check_new(route, subject)
        attempts = 1 if subject.metadata.name else _NAME_ATTEMPTS
        while True:
            attempts -= 1
            new, more = self._admissions.admit(served, self._complete(route, subject), request)
            key = Key(route.namespace, new.metadata.name)
            if served.kind.namespaced:
                self._admissions.check_namespace(served, route.namespace, key.name)
            if self._store.newest(served.collection, key) is None:
                break
            if not attempts:
                raise served.exists(key.name)
        if request.dry_run:
            return written(encode(new), warnings + more, 201)
        entry = await self._store.create(
            served.collection, key, new.metadata.uid, maker(new), durable=served.kind.durable
        )
        return written(entry.data, warnings + more, 201)

    @staticmethod
    def _check_new(route: Route, subject: Any) -> None:
        check_scope(subject.metadata, route.namespace)
        if route.served.kind.namespaced and not route.namespace:
            raise BadRequest("a namespace is required in the path to create this object")
        if subject.metadata.resource_version:
            raise BadRequest("resourceVersion should not be set on objects to be created")

    def _complete(self, route: Route, subject: Any) -> Any:
        served = route.served
        name = subject.metadata.name
        if not name and subject.metadata.generate_name:
            name = generated_name(subject.metadata.generate_name, self._rng)
        metadata = metadata_of_new(
            subject.metadata,
            name=name,
            namespace=route.namespace,
            uid=str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            now=self._admissions.now(),
            generation=1 if served.counts_generation else 0,
        )
        if served.stores_status:
            return replace(subject, metadata=metadata, status=None)
        return replace(subject, metadata=metadata)

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

    async def replace_subject(
        self,
        route: Route,
        request: ApiRequest,
        entry: Entry,
        old: Any,
        sent: Any,
        warnings: list[str],
    ) -> ApiResponse:
        """Replace a stored object (or its status) by a typed one."""
        served = route.served
        check_scope(sent.metadata, route.namespace)
        check_name(sent.metadata, route.name)
        check_version_present(route, request, sent.metadata)
        check_preconditions(served, sent.metadata, old.metadata)
        more: list[str] = []
        match route.subresource:
            case "status":
                new = replace(old, status=sent.status)
            case "finalize":
                new = replace(old, spec=sent.spec)
            case _:
                new, more = self._plan_main(served, request, sent, old)
        return await self.store_change(route, request, entry, new, warnings + more)

    def _plan_main(
        self, served: Served, request: ApiRequest, sent: Any, old: Any
    ) -> tuple[Any, list[str]]:
        new = replace(sent, metadata=metadata_of_update(sent.metadata, old.metadata))
        if served.stores_status:
            new = replace(new, status=old.status)
        if served.collection == "namespaces":
            new = replace(new, spec=old.spec)
        new, warnings = self._admissions.admit(served, new, request, old)
        refusal = check_finalizers(served, new.metadata, old.metadata)
        if refusal is not None:
            raise refusal
        return with_metadata(new, generation=generation_of_update(served, new, old)), warnings

    async def store_change(
        self, route: Route, request: ApiRequest, entry: Entry, new: Any, warnings: list[str]
    ) -> ApiResponse:
        """Write the new state, or remove the object when nothing holds it any more."""
        served, store = route.served, self._store
        same = encode(new)
        if request.dry_run:
            return written(same, warnings)
        if finished(served, new):
            final = await store.delete(
                served.collection, route.key, entry.rv, maker(new), durable=served.kind.durable
            )
            return written(final.data, warnings)
        if same == entry.data:
            if entry.rv > store.visible_rv(served.collection):
                await store.settle()
            return written(entry.data, warnings)
        stored = await store.update(
            served.collection, route.key, entry.rv, maker(new), durable=served.kind.durable
        )
        return written(stored.data, warnings)
