"""Tells people what controllers did: ``v1`` Events on the object concerned, best effort.

``record`` never waits and never fails. The queue holds 256 events; when it is full the oldest is dropped.
Repetitions are counted: while one waits in the queue its count grows, and one that was sent already is
patched instead of created again (the last 1,024 are remembered). Events wait 0.1 s before they are sent:
what they tell of is just being done, and is to be done first.
"""

import asyncio
import logging
import random
from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from knarr.kits.clock import Clock, format_timestamp
from knarr.kits.tasks import TaskScope
from knarr.kube.client import Client
from knarr.meta.errors import NotFound, StatusError
from knarr.meta.names import generated_name
from knarr.meta.objects import Key, ObjectMeta, Resource
from knarr.resources.core.event import EVENT, Event, EventSource
from knarr.resources.core.references import ObjectReference

LOG = logging.getLogger(__name__)
EventType = Literal["Normal", "Warning"]

_QUEUE_LIMIT = 256
_MEMORY_LIMIT = 1024
_MAX_MESSAGE_CHARACTERS = 1024
_LINGER_S = 0.1


@dataclass(frozen=True, slots=True)
class _Identity:
    """Events that are equal in this are repetitions of one another."""

    reference: ObjectReference
    type: EventType
    reason: str
    message: str

    def __hash__(self) -> int:
        return hash((self.reference.uid, self.reference.name, self.reason, self.message))


@dataclass(slots=True)
class _Pending:
    """Repetitions that were not sent yet."""

    first: str
    last: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the API holds of an identity."""

    key: Key
    count: int


class EventRecorder:
    """Records Events in the name of one component; an async context manager with one sender."""

    def __init__(self, client: Client, component: str, *, clock: Clock, rng: random.Random) -> None:
        self._client = client
        self._component = component
        self._clock = clock
        self._rng = rng
        self._pending: OrderedDict[_Identity, _Pending] = OrderedDict()
        self._sent: OrderedDict[_Identity, _Sent] = OrderedDict()
        self._wake = asyncio.Event()
        self._scope: TaskScope | None = None
        self.dropped = 0

    async def __aenter__(self) -> "EventRecorder":
        scope = TaskScope()
        await scope.__aenter__()
        scope.start(self._send_all(), name=f"events-{self._component}")
        self._scope = scope
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(kind, error, traceback)

    def record(self, about: Resource, type_: EventType, reason: str, message: str) -> None:
        """Report something about an object.

        Args:
            about: the object; apiVersion, kind and metadata must be set.
            type_: Warning for what a user should look at.
            reason: one CamelCase word.
            message: a sentence; cut at 1,024 characters.
        """
        reference = ObjectReference(
            kind=about.kind,
            namespace=about.metadata.namespace,
            name=about.metadata.name,
            uid=about.metadata.uid,
            api_version=about.api_version,
        )
        identity = _Identity(reference, type_, reason, message[:_MAX_MESSAGE_CHARACTERS])
        now = format_timestamp(self._clock.wall())
        waiting = self._pending.get(identity)
        if waiting is not None:
            waiting.count += 1
            waiting.last = now
            return
        if len(self._pending) >= _QUEUE_LIMIT:
            self._pending.popitem(last=False)
            self.dropped += 1
        self._pending[identity] = _Pending(first=now, last=now)
        self._wake.set()

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_LINGER_S)
            self._wake.clear()
            while self._pending:
                identity, pending = self._pending.popitem(last=False)
                try:
                    await self._send(identity, pending)
                except StatusError as error:
                    self.dropped += 1
                    LOG.debug("event %s on %s: %s", identity.reason, identity.reference.name, error)

    async def _send(self, identity: _Identity, pending: _Pending) -> None:
        sent = self._sent.pop(identity, None)
        count = pending.count
        if sent is not None:
            count += sent.count
            try:
                await self._client.patch(
                    EVENT, sent.key, {"count": count, "lastTimestamp": pending.last}
                )
            except NotFound:
                sent, count = None, pending.count
        if sent is None:
            created = await self._client.create(EVENT, self._event(identity, pending))
            sent = _Sent(created.key, count)
        self._sent[identity] = _Sent(sent.key, count)
        if len(self._sent) > _MEMORY_LIMIT:
            self._sent.popitem(last=False)

    def _event(self, identity: _Identity, pending: _Pending) -> Event:
        reference = identity.reference
        # Events about objects without a namespace live in "default", as in Kubernetes.
        namespace = reference.namespace or "default"
        return Event(
            metadata=ObjectMeta(
                name=generated_name(f"{reference.name[:50]}.", self._rng), namespace=namespace
            ),
            involved_object=reference,
            type=identity.type,
            reason=identity.reason,
            message=identity.message,
            count=pending.count,
            first_timestamp=pending.first,
            last_timestamp=pending.last,
            source=EventSource(component=self._component),
            reporting_component=self._component,
        )
