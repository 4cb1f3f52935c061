"""From a Route's targets to Revisions; pure (Knative ``pkg/reconciler/route/traffic``).

Each target becomes a *revision target*: the Revision that answers now and its share. Targets are grouped by
tag; the default group (empty tag) holds all of them. Shares of one Revision are added up. A target that
cannot be served is a ``TrafficProblem``; a failure beats what only is not ready yet, and the last failure
is the one that is told.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace

from knarr.meta.conditions import is_false
from knarr.meta.objects import Key
from knarr.resources.serving import route_conditions as conditions
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route, RouteSpec, RouteStatus
from knarr.resources.serving.traffic import TrafficTarget
from knarr.serving import labels
from knarr.serving.configuration.plan import is_ready

DEFAULT_TAG = ""


@dataclass(frozen=True, slots=True)
class RevisionTarget:
    """A share that goes to one Revision.

    Attributes:
        percent: of all requests, 0 to 100.
        latest: the Revision is whatever the Configuration's latest ready one is.
        configuration: that the Revision belongs to; empty when it belongs to none.
    """

    tag: str
    revision: str
    configuration: str
    latest: bool
    percent: int


@dataclass(frozen=True, slots=True)
class TrafficProblem:
    """Why a target cannot be served.

    Attributes:
        failure: nothing will change by waiting.
        mark: tells a Route's status.
    """

    failure: bool
    mark: Callable[[RouteStatus, dt.datetime], RouteStatus]


@dataclass(frozen=True, slots=True)
class Traffic:
    """The resolved targets.

    Attributes:
        targets: by tag, each Revision once; the shares of a group with one Revision are 100.
        listed: in the order of the spec, for the status.
    """

    targets: dict[str, tuple[RevisionTarget, ...]]
    listed: tuple[RevisionTarget, ...]


Finder = Callable[[Key], Configuration | None]
RevisionFinder = Callable[[Key], Revision | None]


def resolve_traffic(
    route: Route, configuration_of: Finder, revision_of: RevisionFinder
) -> Traffic | TrafficProblem:
    """Resolve every target of a Route, or say which one cannot be served."""
    problem: TrafficProblem | None = None
    listed: list[RevisionTarget] = []
    groups: dict[str, list[RevisionTarget]] = {}
    for target in (route.spec or RouteSpec()).traffic:
        found = _resolve(route, target, configuration_of, revision_of)
        if isinstance(found, TrafficProblem):
            if problem is None or found.failure:
                problem = found
            continue
        _merge(listed, found)
        groups.setdefault(DEFAULT_TAG, []).append(found)
        if found.tag:
            groups.setdefault(found.tag, []).append(found)
    if problem is not None:
        return problem
    return Traffic({tag: _consolidated(group) for tag, group in groups.items()}, tuple(listed))


@dataclass(frozen=True, slots=True)
class _Found:
    revision: Revision
    configuration: str


def _resolve(
    route: Route, target: TrafficTarget, configuration_of: Finder, revision_of: RevisionFinder
) -> RevisionTarget | TrafficProblem:
    if target.revision_name:
        found = _by_revision(route, target.revision_name, configuration_of, revision_of)
    else:
        found = _by_configuration(route, target.configuration_name, configuration_of, revision_of)
    if isinstance(found, TrafficProblem):
        return found
    if not is_ready(found.revision):
        return _unready_revision(found.revision)
    return RevisionTarget(
        tag=target.tag,
        revision=found.revision.metadata.name,
        configuration=found.configuration,
        latest=bool(target.latest_revision),
        percent=target.percent or 0,
    )


def _by_revision(
    route: Route, name: str, configuration_of: Finder, revision_of: RevisionFinder
) -> _Found | TrafficProblem:
    namespace = route.metadata.namespace
    revision = revision_of(Key(namespace, name))
    if revision is None:
        return _missing("Revision", name)
    foreign = _ownership_problem(route, revision)
    if foreign is not None:
        return foreign
    configuration = revision.metadata.label(labels.CONFIGURATION)
    if configuration and configuration_of(Key(namespace, configuration)) is None:
        return _missing("Configuration", configuration)
    return _Found(revision, configuration)


def _by_configuration(
    route: Route, name: str, configuration_of: Finder, revision_of: RevisionFinder
) -> _Found | TrafficProblem:
    namespace = route.metadata.namespace
    configuration = configuration_of(Key(namespace, name))
    if configuration is None:
        return _missing("Configuration", name)
    latest = configuration.status.latest_ready_revision_name if configuration.status else ""
    if not latest:
        return _unready_configuration(configuration)
    revision = revision_of(Key(namespace, latest))
    return _missing("Revision", latest) if revision is None else _Found(revision, name)


def _missing(kind: str, name: str) -> TrafficProblem:
    return TrafficProblem(
        failure=True,
        mark=lambda status, now: conditions.mark_missing_target(status, kind, name, now),
    )


def _ownership_problem(route: Route, revision: Revision) -> TrafficProblem | None:
    mine = route.metadata.label(labels.SERVICE)
    theirs = revision.metadata.label(labels.SERVICE)
    if not mine or mine == theirs:
        return None
    name = revision.metadata.name
    return TrafficProblem(
        failure=True,
        mark=lambda status, now: conditions.mark_revision_not_owned(
            status, name, mine, theirs, now
        ),
    )


def _unready_configuration(configuration: Configuration) -> TrafficProblem:
    name = configuration.metadata.name
    if is_false(configuration.status.conditions if configuration.status else (), "Ready"):
        return TrafficProblem(
            failure=True,
            mark=lambda status, now: conditions.mark_configuration_failed(status, name, now),
        )
    return TrafficProblem(
        failure=False,
        mark=lambda status, now: conditions.mark_configuration_not_ready(status, name, now),
    )


def _unready_revision(revision: Revision) -> TrafficProblem:
    name = revision.metadata.name
    if is_false(revision.status.conditions if revision.status else (), "Ready"):
        return TrafficProblem(
            failure=True,
            mark=lambda status, now: conditions.mark_revision_failed(status, name, now),
        )
    return TrafficProblem(
        failure=False,
        mark=lambda status, now: conditions.mark_revision_not_ready(status, name, now),
    )


def _merge(listed: list[RevisionTarget], new: RevisionTarget) -> None:
    for index, known in enumerate(listed):
        if (known.tag, known.revision, known.latest) == (new.tag, new.revision, new.latest):
            listed[index] = replace(known, percent=known.percent + new.percent)
            return
    listed.append(new)


def _consolidated(group: list[RevisionTarget]) -> tuple[RevisionTarget, ...]:
    by_revision: dict[str, RevisionTarget] = {}
    for target in group:
        known = by_revision.get(target.revision)
        if known is None:
            by_revision[target.revision] = target
        else:
            percent = known.percent + target.percent
            by_revision[target.revision] = replace(known, percent=percent)
    if len(by_revision) == 1:
        return tuple(replace(item, percent=100) for item in by_revision.values())
    return tuple(by_revision.values())
