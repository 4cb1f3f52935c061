"""Asking webhooks: in which order, and what their answers do.

Sources: ``apiserver/pkg/admission/plugin/webhook/mutating``, ``validating`` (``dispatcher.go``).
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from knarr.apiserver.patches.jsonpatch import json_patch
from knarr.apiserver.webhooks.caller import Caller, CallFailed
from knarr.apiserver.webhooks.conditions import decide
from knarr.apiserver.webhooks.hooks import Hook, concerns_configurations, hooks_of
from knarr.apiserver.webhooks.matching import (
    matched_kind,
    namespace_matches,
    object_matches,
)
from knarr.apiserver.webhooks.reviews import (
    Answer,
    BadAnswer,
    bounded_warnings,
    parse_answer,
    refusal,
    request_head,
    review_body,
    review_version,
)
from knarr.apiserver.webhooks.subject import Document, ReviewSubject
from knarr.apiserver.webhooks.targets import NoTarget, TargetFinder
from knarr.meta.errors import BadRequest, Cause, Forbidden, NotFound, StatusError
from knarr.meta.objects import Key
from knarr.resources.admissionregistration.configuration import (
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_WEBHOOK_CONFIGURATION,
)
from knarr.resources.core.endpoints import Endpoints
from knarr.resources.core.service import Service
from knarr.resources.kind import Kind
from knarr.store.store import Store

_log = logging.getLogger(__name__)
Equivalents = Callable[[Kind[Any]], Sequence[Kind[Any]]]


class _Source:
    """The webhooks of one sort, compiled again only when a configuration changed."""

    def __init__(self, store: Store, kind: Kind[Any]) -> None:
        self._store = store
        self._collection = kind.qualified_plural
        self._decoder = msgspec.json.Decoder(kind.model)
        self._rv = -1
        self._hooks: tuple[Hook, ...] = ()

    def current(self) -> tuple[Hook, ...]:
        """The webhooks in their order."""
        rv = self._store.changed_rv(self._collection)
        if rv != self._rv:
            documents = self._store.newest_within(self._collection)
            self._hooks = hooks_of([self._decoder.decode(item) for item in documents])
            self._rv = rv
        return self._hooks


@dataclass(frozen=True, slots=True)
class _Invocation:
    """A webhook that is to be asked, in the version that its rules name."""

    hook: Hook
    kind: Kind[Any]
    head: Mapping[str, Any]


@dataclass(slots=True)
class _Round:
    """Mutation: what the object is now, and who is to be asked again."""

    document: Document
    warnings: list[str] = field(default_factory=list)
    asked: set[tuple[str, int]] = field(default_factory=set)
    again: set[tuple[str, int]] = field(default_factory=set)


class Webhooks:
    """Admission by the webhooks of the configurations in the store.

    Args:
        store: configurations, Namespaces, Services and Endpoints.
        caller: sends the reviews.
        rng: for uids and to pick addresses.
        equivalents: other versions in which the objects of a kind are served.
    """

    def __init__(
        self, store: Store, caller: Caller, rng: random.Random, equivalents: Equivalents
    ) -> None:
        self._store = store
        self._caller = caller
        self._rng = rng
        self._equivalents = equivalents
        self._mutating = _Source(store, MUTATING_WEBHOOK_CONFIGURATION)
        self._validating = _Source(store, VALIDATING_WEBHOOK_CONFIGURATION)
        self._targets = TargetFinder(self._service, self._endpoints, rng)

    def concerned(self, kind: Kind[Any], namespace: str, operation: str, subresource: str) -> bool:
        """Whether the rules of any webhook match; nearly free without configurations."""
        mutating, validating = self._mutating.current(), self._validating.current()
        if not (mutating or validating) or concerns_configurations(kind):
            return False
        kinds = (kind, *self._equivalents(kind))
        return any(
            matched_kind(hook, kinds, namespace, operation, subresource) is not None
            for hook in (*mutating, *validating)
        )

    # Mutation

    async def mutate(self, review: ReviewSubject) -> tuple[Document | None, list[str]]:
        """The document as the webhooks want it, and their warnings.

        One is asked after another. When a later one changed the object, those that want to be asked
        again are, once.

        Raises:
            StatusError: one refused, or could not be asked.
        """
        hooks = self._mutating.current()
        if not hooks or concerns_configurations(review.kind):
            return review.document, []
        state = _Round(review.document if review.document is not None else {})
        await self._pass(hooks, review, state)
        if state.again:
            chosen = [hook for hook in hooks if hook.identity in state.again]
            await self._pass(chosen, review, state)
        document = None if review.document is None else state.document
        return document, bounded_warnings(state.warnings)

    async def _pass(self, hooks: Sequence[Hook], review: ReviewSubject, state: _Round) -> None:
        for hook in hooks:
            document = None if review.document is None else state.document
            invocation = self._invocation(hook, review, document)
            if invocation is None:
                continue
            answer = await self._ask(invocation, review, document, mutating=True)
            if answer is None:
                continue
            state.warnings += answer.warnings
            if not answer.allowed:
                raise refusal(hook.name, answer.status)
            if answer.patch is not None and self._patch(invocation, review, state, answer.patch):
                state.again |= state.asked
                state.asked = set()
            if hook.again:
                state.asked.add(hook.identity)

    @staticmethod
    def _patch(
        invocation: _Invocation, review: ReviewSubject, state: _Round, operations: Any
    ) -> bool:
        """Apply a patch; whether it changed anything."""
        name = invocation.hook.name
        if review.document is None:
            raise _internal(
                f'admission webhook "{name}" attempted to modify the object, which is not supported '
                "for this operation"
            )
        before = _in_version(state.document, invocation.kind)
        try:
            after = json_patch(before, operations)
        except StatusError as error:
            raise _internal(f'admission webhook "{name}": {error.message}') from None
        if not isinstance(after, dict):
            raise _internal(f'admission webhook "{name}" left no object')
        if after == before:
            return False
        state.document = review.complete(_in_version(after, review.kind))
        return True

    # Validation

    async def validate(self, review: ReviewSubject) -> list[str]:
        """The warnings of webhooks that agree; they are asked all at once.

        Raises:
            StatusError: one refused, or could not be asked.
        """
        hooks = self._validating.current()
        if not hooks or concerns_configurations(review.kind):
            return []
        found = (self._invocation(hook, review, review.document) for hook in hooks)
        invocations = [each for each in found if each is not None]
        results: list[Answer | StatusError | None] = [None] * len(invocations)

        async def one(index: int, invocation: _Invocation) -> None:
            try:
                results[index] = await self._ask(
                    invocation, review, review.document, mutating=False
                )
            except StatusError as error:
                results[index] = error

        async with asyncio.TaskGroup() as group:
            for index, invocation in enumerate(invocations):
                group.create_task(one(index, invocation))
        warnings: list[str] = []
        for invocation, result in zip(invocations, results, strict=True):
            if isinstance(result, StatusError):
                raise result
            if result is not None and not result.allowed:
                raise refusal(invocation.hook.name, result.status)
            warnings += result.warnings if result is not None else ()
        return bounded_warnings(warnings)

    # One webhook

    def _invocation(
        self, hook: Hook, review: ReviewSubject, document: Document | None
    ) -> _Invocation | None:
        """How to ask a webhook, None when it is not concerned."""
        kinds = (review.kind, *self._equivalents(review.kind))
        place = (review.namespace, review.operation, review.subresource)
        kind = matched_kind(hook, kinds, *place)
        if kind is None or not object_matches(hook.objects, document, review.old):
            return None
        if not namespace_matches(hook.namespaces, review, self._namespace_labels):
            return None
        head = request_head(review, kind)
        if not hook.conditions:
            return _Invocation(hook, kind, head)
        seen = (_in_version(document, kind), _in_version(review.old, kind))
        verdict = decide(hook.conditions, head, *seen)
        if not verdict.calls or (verdict.problems and hook.ignores_failures):
            return None
        if verdict.problems:
            raise _unmatchable(review, verdict.problems)
        return _Invocation(hook, kind, head)

    async def _ask(
        self,
        invocation: _Invocation,
        review: ReviewSubject,
        document: Document | None,
        *,
        mutating: bool,
    ) -> Answer | None:
        """A webhook's answer; None when it could not be asked and that is to be ignored."""
        hook = invocation.hook
        if review.dry_run and not hook.harmless:
            raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        kind = invocation.kind
        uid = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        try:
            version = review_version(hook.versions)
            new, old = _in_version(document, kind), _in_version(review.old, kind)
            body = review_body(invocation.head, uid, version, new, old)
            target = self._targets.find(hook.client)
            received = await self._caller.call(target, body, hook.timeout_s)
            return parse_answer(received, uid, version, mutating=mutating)
        except BadAnswer as error:
            problem = f"received invalid webhook response: {error}"
        except NoTarget as error:
            problem = f"failed to call webhook: {error}"
        except CallFailed as error:
            problem = f"failed to call webhook: {error}"
        text = f'failed calling webhook "{hook.name}": {problem}'
        if not hook.ignores_failures:
            raise _internal(text)
        _log.warning("going on without a webhook whose failures are ignored: %s", text)
        return None

    # The store

    def _namespace_labels(self, name: str) -> Mapping[str, str]:
        entry = self._store.newest("namespaces", Key("", name))
        if entry is None:
            raise NotFound(f'namespaces "{name}" not found', kind="namespaces", name=name)
        return msgspec.json.decode(entry.data, type=_Labelled).metadata.labels or {}

    def _service(self, key: Key) -> Service | None:
        entry = self._store.newest("services", key)
        return None if entry is None else msgspec.json.decode(entry.data, type=Service)

    def _endpoints(self, key: Key) -> Endpoints | None:
        entry = self._store.newest("endpoints", key)
        return None if entry is None else msgspec.json.decode(entry.data, type=Endpoints)


class _Labelled(msgspec.Struct, frozen=True):
    class _Meta(msgspec.Struct, frozen=True):
        labels: Mapping[str, str] | None = None

    metadata: _Meta = _Meta()


def _in_version(document: Any, kind: Kind[Any]) -> Any:
    """A document in another version of its kind: with the strategy None only the name changes."""
    if document is None or document.get("apiVersion") == kind.api_version:
        return document
    return {**document, "apiVersion": kind.api_version}


def _internal(text: str) -> StatusError:
    return StatusError(f"Internal error occurred: {text}", causes=[Cause(message=text)])


def _unmatchable(review: ReviewSubject, problems: Sequence[str]) -> Forbidden:
    kind = review.kind
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return Forbidden(
        f'{kind.qualified_plural} "{review.name}" is forbidden: {text}',
        group=kind.group,
        kind=kind.plural,
        name=review.name,
    )
