"""DELETE: what happens to an object is decided by a pure plan, then written.

Sources: ``apiserver/pkg/registry/rest/delete.go`` (grace), ``registry/generic/registry/store.go``
(finalizers of garbage collection).
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.objectmeta import (
    FOREGROUND_FINALIZER,
    ORPHAN_FINALIZER,
    finished,
    replace,
    with_metadata,
)
from knarr.apiserver.reading import Reader
from knarr.apiserver.request import ApiRequest, ApiResponse, json_response, warning_header
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Served
from knarr.apiserver.writing import written
from knarr.kits.clock import Clock, format_timestamp, parse_timestamp
from knarr.meta.errors import BadRequest, Cause, Conflict, Invalid
from knarr.meta.objects import Key
from knarr.store.records import Entry
from knarr.store.store import Store

_DEFAULT_GRACE_S = 30
# A DELETE of these answers with what was deleted.
_SHOWN = frozenset(
    {
        "pods", "services", "serviceaccounts", "persistentvolumeclaims", "persistentvolumes",
        "resourcequotas", "podtemplates",
    }
)  # fmt: skip
_PRESERVED = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to "
    "remove them or set propagationPolicy=Orphan to suppress this warning"
)
_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
Propagation = Literal["", "Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """``metav1.DeleteOptions``, from a body or from query parameters."""

    grace_s: int | None = None
    propagation: Propagation = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def parse_options(document: dict[str, Any], request: ApiRequest) -> DeleteOptions:
    """Options out of a body; query parameters fill in what the body leaves open.

    Raises:
        BadRequest: a field has the wrong type.
        Invalid: a value is not allowed.
    """
    kind = document.get("kind")
    if kind not in (None, "", "DeleteOptions"):
        raise BadRequest(f"the body of a DELETE must be DeleteOptions, not {kind}")
    try:
        sent = msgspec.convert(document, _OptionsDocument)
    except msgspec.ValidationError as error:
        raise BadRequest(f"DeleteOptions: {error}") from None
    orphan = sent.orphan_dependents
    policy = sent.propagation_policy or request.text("propagationPolicy")
    if orphan is not None and policy:
        message = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        raise Invalid(
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: {message}',
            causes=[Cause(reason="FieldValueInvalid", message=message, field="propagationPolicy")],
        )
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    if policy not in ("", "Background", "Foreground", "Orphan"):
        cause = Cause(reason="FieldValueNotSupported", message=policy, field="propagationPolicy")
        raise Invalid(
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}": '
            f'supported values: "Background", "Foreground", "Orphan"',
            causes=[cause],
        )
    grace = sent.grace_period_seconds
    if grace is None:
        grace = request.integer("gracePeriodSeconds")
    preconditions = sent.preconditions or _Preconditions()
    return DeleteOptions(
        grace_s=None if grace is None else max(grace, 0),
        propagation=policy,  # type: ignore[arg-type]  # one of the four, checked above
        uid=preconditions.uid or "",
        resource_version=preconditions.resource_version or "",
        dry_run=request.dry_run or "All" in (sent.dry_run or ()),
    )


class _Preconditions(msgspec.Struct, frozen=True, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _OptionsDocument(msgspec.Struct, frozen=True, rename="camel"):
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: _Preconditions | None = None
    dry_run: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a DELETE does: remove the object, or leave it in this state."""

    subject: Any
    remove: bool


def plan_delete(served: Served, subject: Any, options: DeleteOptions, now: dt.datetime) -> Plan:
    """Decide a DELETE of an object in its present state."""
    before = subject
    finalizers = _finalizers(subject.metadata.finalizers or (), options.propagation)
    subject = with_metadata(subject, finalizers=finalizers or None)
    grace = _grace_s(served, subject, options)
    if subject.metadata.deletion_timestamp is None:
        subject = _marked(served, subject, grace, now)
    elif grace < (subject.metadata.deletion_grace_period_seconds or 0):
        subject = _shortened(subject, grace)
    if finished(served, subject):
        # what goes at once was never seen to be going; Pods always are
        at_once = before.metadata.deletion_timestamp is None and served.collection != "pods"
        return Plan(before if at_once else subject, remove=True)
    return Plan(_terminating(served, subject), remove=False)


def _finalizers(present: tuple[str, ...], propagation: Propagation) -> tuple[str, ...]:
    if not propagation:
        return present
    kept = [name for name in present if name not in (FOREGROUND_FINALIZER, ORPHAN_FINALIZER)]
    if propagation == "Foreground":
        kept.append(FOREGROUND_FINALIZER)
    elif propagation == "Orphan":
        kept.append(ORPHAN_FINALIZER)
    return present if sorted(kept) == sorted(present) else tuple(kept)


def _grace_s(served: Served, subject: Any, options: DeleteOptions) -> int:
    """Only Pods end gracefully, and only those that a node runs."""
    if served.collection != "pods":
        return 0
    phase = subject.status.phase if subject.status is not None else ""
    if subject.spec is None or not subject.spec.node_name or phase in ("Succeeded", "Failed"):
        return 0
    if options.grace_s is not None:
        return options.grace_s
    own: int | None = subject.spec.termination_grace_period_seconds
    return _DEFAULT_GRACE_S if own is None else own


def _marked(served: Served, subject: Any, grace: int, now: dt.datetime) -> Any:
    generation = subject.metadata.generation
    return with_metadata(
        subject,
        deletion_timestamp=format_timestamp(now + dt.timedelta(seconds=grace)),
        deletion_grace_period_seconds=grace,
        generation=generation + 1 if generation and served.counts_generation else generation,
    )


def _shortened(subject: Any, grace: int) -> Any:
    metadata = subject.metadata
    asked = parse_timestamp(metadata.deletion_timestamp) - dt.timedelta(
        seconds=metadata.deletion_grace_period_seconds
    )
    return with_metadata(
        subject,
        deletion_timestamp=format_timestamp(asked + dt.timedelta(seconds=grace)),
        deletion_grace_period_seconds=grace,
    )


def _terminating(served: Served, subject: Any) -> Any:
    """A Namespace says by its phase that it goes; other kinds by their deletionTimestamp alone."""
    if served.collection != "namespaces" or subject.status is None:
        return subject
    return replace(subject, status=replace(subject.status, phase="Terminating"))


class DeletionRules(Protocol):
    """What a kind's deletion means besides."""

    def deleted(self, subject: Any, now: str) -> Any:
        """What the first DELETE makes of an object before its deletionTimestamp is set.

        Args:
            subject: not being deleted yet.
            now: RFC 3339.

        Raises:
            Forbidden: it cannot be deleted.
        """
        ...


class DeletionHooks(Protocol):
    """Who is asked before an object is deleted: webhooks."""

    async def delete(
        self,
        served: Served,
        key: Key,
        old: Any,
        request: ApiRequest,
        options: Mapping[str, Any],
    ) -> list[str] | None:
        """The warnings of hooks that agree; None when nobody had to be asked.

        Raises:
            StatusError: one of them refused, or could not be asked.
        """
        ...


class Deleted(NamedTuple):
    """What a DELETE left: the document, whether the object is gone, and warnings."""

    data: bytes
    removed: bool
    warnings: list[str]


class Deleter:
    """Deletes objects and collections.

    Args:
        store: entered.
        bodies: for DeleteOptions.
        reader: for selections.
        clock: for deletionTimestamps.
        rules: by collection.
        hooks: webhooks, None without.
    """

    def __init__(
        self,
        store: Store,
        bodies: BodyReader,
        reader: Reader,
        clock: Clock,
        rules: Mapping[str, DeletionRules] | None = None,
        hooks: DeletionHooks | None = None,
    ) -> None:
        self._rules = rules or {}
        self._hooks = hooks
        self._store = store
        self._bodies = bodies
        self._reader = reader
        self._clock = clock

    async def delete(self, route: Route, request: ApiRequest) -> ApiResponse:
        """DELETE on an object."""
        options = parse_options(self._bodies.document(request), request)
        options, preserved = _default_policy(route.served, options)
        data, removed, warnings = await self.delete_one(route, options, request)
        warnings = [*warnings, *preserved]
        if not removed or route.served.collection in _SHOWN:
            return written(route.served, data, warnings)
        kind = route.served.kind
        uid = route.served.decode(data).metadata.uid
        details = {"name": route.name, "group": kind.group, "kind": kind.plural, "uid": uid}
        response = json_response(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {name: value for name, value in details.items() if value},
            }
        )
        return dataclasses.replace(response, headers=tuple(map(warning_header, warnings)))

    def _present(self, route: Route, options: DeleteOptions) -> tuple[Entry, Any]:
        entry = self._store.newest(route.served.collection, route.key)
        if entry is None:
            raise route.served.not_found(route.name)
        old = route.served.decode(entry.data)
        _check_preconditions(route.served, old, options)
        return entry, old

    async def delete_one(
        self, route: Route, options: DeleteOptions, request: ApiRequest
    ) -> Deleted:
        """Delete one object.

        Raises:
            NotFound: there is none.
            Conflict: a precondition does not hold.
            StatusError: a webhook refused.
        """
        served, store = route.served, self._store
        entry, old = self._present(route, options)
        if served.collection == "namespaces" and route.name in _IMMORTAL:
            raise served.forbidden(route.name, "this namespace may not be deleted")
        warnings: list[str] = []
        if self._hooks is not None:
            asked = await self._hooks.delete(
                served, route.key, old, request, _options_document(options)
            )
            if asked is not None:
                warnings = asked
                # others may have written while the webhooks were asked
                entry, old = self._present(route, options)
        now = self._clock.wall()
        rules = self._rules.get(served.collection)
        if rules is not None and not old.deleting:
            old = rules.deleted(old, format_timestamp(now))
        plan = plan_delete(served, old, options, now)
        durable = served.kind.durable
        if options.dry_run:
            return Deleted(served.encode(plan.subject), plan.remove, warnings)
        if plan.remove:
            final = await store.delete(
                served.collection, route.key, entry.rv, served.maker(plan.subject), durable=durable
            )
            return Deleted(final.data, removed=True, warnings=warnings)
        if served.encode(plan.subject) == entry.data:
            if entry.rv > store.visible_rv(served.collection):
                await store.settle()
            return Deleted(entry.data, removed=False, warnings=warnings)
        stored = await store.update(
            served.collection, route.key, entry.rv, served.maker(plan.subject), durable=durable
        )
        return Deleted(stored.data, removed=False, warnings=warnings)

    async def delete_collection(self, route: Route, request: ApiRequest) -> ApiResponse:
        """DELETE on a collection: the objects that match the selectors, one by one."""
        options = parse_options(self._bodies.document(request), request)
        served = route.served
        options, _ = _default_policy(served, options)
        page = self._reader.select(route, request)
        deleted: list[bytes] = []
        for item in page.items:
            metadata = served.decode(item).metadata
            one = replace_route(route, metadata.namespace, metadata.name)
            if self._store.newest(served.collection, one.key) is not None:
                found = await self.delete_one(one, options, request)
                deleted.append(found.data)
        return self._reader.list_response(served, request, deleted, page.rv)


def replace_route(route: Route, namespace: str, name: str) -> Route:
    """The route of one object of a collection."""
    return Route(route.served, namespace, name, "")


def _default_policy(served: Served, options: DeleteOptions) -> tuple[DeleteOptions, list[str]]:
    """What happens to dependents when nobody says: Jobs leave their Pods behind, and it is told."""
    if options.propagation or served.collection != "jobs.batch":
        return options, []
    return dataclasses.replace(options, propagation="Orphan"), [_PRESERVED]


def _options_document(options: DeleteOptions) -> dict[str, Any]:
    """The options as webhooks are told them."""
    conditions = {"uid": options.uid, "resourceVersion": options.resource_version}
    document = {
        "gracePeriodSeconds": options.grace_s,
        "propagationPolicy": options.propagation or None,
        "preconditions": {name: value for name, value in conditions.items() if value} or None,
        "dryRun": ["All"] if options.dry_run else None,
    }
    return {name: value for name, value in document.items() if value is not None}


def _check_preconditions(served: Served, old: Any, options: DeleteOptions) -> None:
    metadata = old.metadata
    kind = served.kind
    named = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    pairs = (
        ("UID", options.uid, metadata.uid, "deleted and then recreated"),
        (
            "ResourceVersion", options.resource_version, metadata.resource_version, "modified",
        ),
    )  # fmt: skip
    for what, wanted, present, guess in pairs:
        if wanted and wanted != present:
            raise Conflict(
                f'Operation cannot be fulfilled on {named} "{metadata.name}": the {what} in '
                f"the precondition ({wanted}) does not match the {what} in record ({present}). The "
                f"object might have been {guess}",
                group=kind.group,
                kind=kind.kind,
                name=metadata.name,
            )
