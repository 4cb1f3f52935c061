"""Which Revisions and Configurations a Route uses, and the patches that say so; pure.

Knative ``pkg/reconciler/labeler``: the routes annotation lists the Routes, the routing state is active while
it lists any and reserve afterwards. What a Route ceases to use is let go only once the Route is Ready or has
failed, so that nothing loses its replicas while requests still go there.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from knarr.kits.clock import format_timestamp
from knarr.meta.conditions import find_condition
from knarr.meta.objects import Key, Resource, controller_of
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route, RouteSpec, RouteStatus
from knarr.serving import labels


@dataclass(frozen=True, slots=True)
class Used:
    """Names of what a Route sends requests to, or is about to."""

    revisions: frozenset[str]
    configurations: frozenset[str]


@dataclass(frozen=True, slots=True)
class MetadataPatch:
    """A merge patch of one object's metadata."""

    subject: Resource
    patch: dict[str, Any]


def find_used(
    route: Route,
    configuration_of: Callable[[Key], Configuration | None],
    revision_of: Callable[[Key], Revision | None],
) -> Used:
    """What the Route's spec and status name, and the newest revision where the latest is meant."""
    namespace = route.metadata.namespace
    revisions: set[str] = set()
    configurations: set[str] = set()
    status, spec = route.status or RouteStatus(), route.spec or RouteSpec()
    for target in (*status.traffic, *spec.traffic):
        configuration = target.configuration_name
        if target.revision_name:
            revision = revision_of(Key(namespace, target.revision_name))
            if revision is None:
                continue
            revisions.add(target.revision_name)
            owner = controller_of(revision)
            if owner is not None and owner.kind == "Configuration":
                configuration = owner.name
        found = configuration_of(Key(namespace, configuration)) if configuration else None
        if found is None:
            continue
        configurations.add(configuration)
        created = found.status.latest_created_revision_name if found.status else ""
        if created and target.latest_revision:
            revisions.add(created)
    return Used(frozenset(revisions), frozenset(configurations))


def routes_in(subject: Resource) -> frozenset[str]:
    """The Routes that an object's annotation lists."""
    return frozenset(name for name in subject.metadata.annotation(labels.ROUTES).split(",") if name)


def is_resolved(route: Route) -> bool:
    """Whether the Route is Ready or has failed, of its newest generation."""
    status = route.status
    if status is None or status.observed_generation != route.metadata.generation:
        return False
    ready = find_condition(status.conditions, "Ready")
    return ready is not None and ready.status in {"True", "False"}


def plan_labels(
    route: str,
    used: Iterable[Resource],
    marked: Iterable[Resource],
    now: dt.datetime,
    *,
    clear: bool,
) -> list[MetadataPatch]:
    """The patches for one kind.

    Args:
        route: name of the Route.
        used: objects that must list it.
        marked: objects that list it now.
        now: becomes the time of a change of state.
        clear: whether what is not used any more is let go.
    """
    wanted = {item.metadata.name: item for item in used}
    patches = [_patch(item, routes_in(item) | {route}, now) for item in wanted.values()]
    if clear:
        patches += [
            _patch(item, routes_in(item) - {route}, now)
            for item in marked
            if item.metadata.name not in wanted
        ]
    return [item for item in patches if item is not None]


def _patch(subject: Resource, routes: frozenset[str], now: dt.datetime) -> MetadataPatch | None:
    metadata: dict[str, dict[str, str | None]] = {}
    if routes != routes_in(subject):
        metadata["annotations"] = {labels.ROUTES: ",".join(sorted(routes)) or None}
    if isinstance(subject, Revision):
        state = "active" if routes else "reserve"
        if subject.metadata.label(labels.ROUTING_STATE) != state:
            metadata["labels"] = {labels.ROUTING_STATE: state}
            moment = metadata.setdefault("annotations", {})
            moment[labels.ROUTING_STATE_MODIFIED] = format_timestamp(now)
    return MetadataPatch(subject, {"metadata": metadata}) if metadata else None
