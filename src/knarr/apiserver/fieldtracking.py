"""``metadata.managedFields`` on every write, and server-side apply: objects in, objects out."""

from collections.abc import Mapping
from typing import Any

from knarr.apiserver.fieldmanagement import (
    Actor,
    ApplyResult,
    BuiltinSchemas,
    MergeSchema,
    Rules,
    apply_configuration,
    conflict_error,
    custom_resource_schema,
    field_manager_problems,
    ignored_fields,
    manager_name,
    track_update,
)
from knarr.apiserver.objectmeta import with_metadata
from knarr.apiserver.openapi import Schema
from knarr.apiserver.protobuf.wire import WireTables
from knarr.apiserver.request import ApiRequest
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Served
from knarr.kits.clock import Clock
from knarr.meta.errors import Cause, Invalid

SCALE_VERSION = "autoscaling/v1"
_REPLICAS = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
_SCALE = custom_resource_schema(
    {"type": "object", "properties": {"spec": _REPLICAS, "status": _REPLICAS}}
)


class FieldTracker:
    """Keeps account of who owns which fields.

    Args:
        tables: the messages of Kubernetes' own kinds.
        schema: ``openAPIV3Schema`` of custom kinds with a model.
        clock: for the entries' times.
    """

    def __init__(self, tables: WireTables, schema: Schema, clock: Clock) -> None:
        self._tables = tables
        self._schema = schema
        self._clock = clock
        self._builtin: BuiltinSchemas | None = None
        self._rules: dict[tuple[str, str], tuple[Served, Rules]] = {}

    def rules(self, served: Served, subresource: str) -> Rules:
        """What is fixed for a kind and a subresource; made once for as long as the kind stays."""
        key = (f"{served.kind.api_version}/{served.kind.kind}", subresource)
        known = self._rules.get(key)
        if known is None or known[0] is not served:
            known = self._rules[key] = (served, self._make(served, subresource))
        return known[1]

    def _make(self, served: Served, subresource: str) -> Rules:
        kind = served.kind
        schema, empty = self._structure(served)
        return Rules(
            schema=schema,
            ignored=ignored_fields(subresource, has_status=served.stores_status),
            empty=empty,
            kind=kind.kind,
        )

    def _structure(self, served: Served) -> tuple[MergeSchema, Mapping[str, Any]]:
        kind = served.kind
        if served.custom is not None:
            return custom_resource_schema(served.schema), {}
        if kind.builtin:
            if self._builtin is None:
                self._builtin = BuiltinSchemas(self._tables.get())
            found = self._builtin.schema(kind.group, kind.version, kind.kind)
            if found is not None:
                return found, self._builtin.empty(kind.group, kind.version, kind.kind)
        return custom_resource_schema(self._schema(kind)), {}

    def actor(self, served: Served, request: ApiRequest, subresource: str) -> Actor:
        """Who writes, and how.

        Raises:
            Invalid: ``fieldManager`` is malformed.
        """
        manager = request.text("fieldManager")
        problems = field_manager_problems(manager, required=False)
        if problems:
            raise _bad_manager(manager, problems)
        name = manager_name(manager, request.user_agent)
        return Actor(name, served.kind.api_version, self._clock.wall(), subresource)

    def created(self, served: Served, request: ApiRequest, subject: Any) -> Any:
        """A new object with its entries."""
        return self._tracked(served, request, "", None, subject)

    def updated(self, route: Route, request: ApiRequest, old: Any, new: Any) -> Any:
        """The new state with its entries; what ``new`` carries of them is what the client sent."""
        return self._tracked(route.served, request, route.subresource, old, new)

    def _tracked(
        self, served: Served, request: ApiRequest, subresource: str, old: Any, new: Any
    ) -> Any:
        rules = self.rules(served, subresource)
        document = track_update(
            None if old is None else {**rules.empty, **served.codec.document(old)},
            {**rules.empty, **served.codec.document(new)},
            self.actor(served, request, subresource),
            rules,
        )
        entries = document["metadata"].get("managedFields")
        return with_metadata(new, managed_fields=tuple(entries) if entries else None)

    def apply(
        self, route: Route, request: ApiRequest, live: Mapping[str, Any] | None, config: Any
    ) -> ApplyResult:
        """Server-side apply of a configuration.

        Args:
            route: of the object, or of its status.
            request: with ``fieldManager`` and ``force``.
            live: the stored document in the version of the route, None when there is none.
            config: the configuration.

        Raises:
            Invalid: ``fieldManager`` is missing or malformed.
            BadRequest: the configuration cannot be applied.
            Conflict: others own fields that it changes.
        """
        served = route.served
        actor = self.actor(served, request, route.subresource)
        return _apply(request, live, config, actor, self.rules(served, route.subresource))

    def apply_scale(
        self, request: ApiRequest, live: Mapping[str, Any], config: Mapping[str, Any]
    ) -> ApplyResult:
        """Server-side apply of a Scale; errors as in ``apply``."""
        name = manager_name(request.text("fieldManager"), request.user_agent)
        actor = Actor(name, SCALE_VERSION, self._clock.wall(), "scale")
        return _apply(request, live, config, actor, Rules(schema=_SCALE, kind="Scale"))


def _apply(
    request: ApiRequest,
    live: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    actor: Actor,
    rules: Rules,
) -> ApplyResult:
    manager = request.text("fieldManager")
    problems = field_manager_problems(manager, required=True)
    if problems:
        raise _bad_manager(manager, problems)
    result = apply_configuration(live, config, actor, rules, force=request.flag("force"))
    if result.conflicts:
        raise conflict_error(result.conflicts)
    return result


def same_but_times(served: Served, stored: bytes, old: Any, new: Any) -> bool:
    """Whether a write would change nothing but times in ``managedFields``.

    Args:
        served: the kind.
        stored: the stored bytes of ``old``.
        old: the object before.
        new: the object after.
    """
    before, after = old.metadata.managed_fields, new.metadata.managed_fields
    if after != before and _timeless(after) != _timeless(before):
        return False
    return served.encode(with_metadata(new, managed_fields=before)) == stored


def keeps_entries(old: Any, new: Any) -> bool:
    """Whether a client sent no entries of its own, or those that it had read."""
    sent = new.metadata.managed_fields
    return sent is None or sent == old.metadata.managed_fields


def _timeless(entries: tuple[Any, ...] | None) -> list[Any]:
    return [
        {name: value for name, value in entry.items() if name != "time"} for entry in entries or ()
    ]


def _bad_manager(name: str, problems: list[str]) -> Invalid:
    texts = [
        f"Required value: {problem}" if not name else f'Invalid value: "{name}": {problem}'
        for problem in problems
    ]
    reason = "FieldValueRequired" if not name else "FieldValueInvalid"
    causes = [Cause(reason=reason, message=text, field="fieldManager") for text in texts]
    return Invalid(
        f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {texts[0]}',
        kind="PatchOptions",
        group="meta.k8s.io",
        causes=causes,
    )
