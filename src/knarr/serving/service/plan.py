"""Computes a Service's status from its Configuration and Route; pure."""

import datetime as dt

from knarr.meta.conditions import is_true
from knarr.resources.serving import service_conditions as conditions
from knarr.resources.serving.configuration import Configuration, ConfigurationStatus
from knarr.resources.serving.podspec import RevisionTemplate
from knarr.resources.serving.route import Route, RouteSpec, RouteStatus
from knarr.resources.serving.service import Service, ServiceStatus
from knarr.resources.serving.traffic import TrafficTarget
from knarr.serving.marks import finish_status


def is_up_to_date(child: Configuration | Route) -> bool:
    """Whether a child's status speaks of its newest generation."""
    return (
        child.status is not None and child.status.observed_generation == child.metadata.generation
    )


def is_named(template: RevisionTemplate | None) -> bool:
    """Whether the user chose the next Revision's name."""
    return template is not None and template.metadata is not None and bool(template.metadata.name)


class ServicePlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, service: Service, now: dt.datetime) -> None:
        self._service = service
        self._now = now
        self._status = conditions.initialize(service.status or ServiceStatus(), now)

    def not_owned(self, kind: str) -> None:
        """A child's name is taken by an object of someone else."""
        name = self._service.metadata.name
        if kind == "Configuration":
            self._status = conditions.mark_configuration_not_owned(self._status, name, self._now)
        else:
            self._status = conditions.mark_route_not_owned(self._status, name, self._now)

    def follow_configuration(self, configuration: Configuration) -> None:
        """Copy what the Configuration reached."""
        if is_up_to_date(configuration):
            source = configuration.status or ConfigurationStatus()
            self._status = conditions.propagate_configuration(self._status, source, self._now)
        else:
            self._status = conditions.mark_configuration_not_reconciled(self._status, self._now)

    def name_taken(self, name: str) -> None:
        """The chosen Revision name belongs to another Revision."""
        self._status = conditions.mark_revision_name_taken(self._status, name, self._now)

    def follow_route(self, route: Route, configuration: Configuration) -> None:
        """Copy what the Route reached; Ready only when it serves what is wanted now."""
        if is_up_to_date(route):
            source = route.status or RouteStatus()
            self._status = conditions.propagate_route(self._status, source, self._now)
        else:
            self._status = conditions.mark_route_not_reconciled(self._status, self._now)
        routed = is_true(self._status.conditions, conditions.ROUTES_READY)
        if routed and not is_migrated(route, configuration):
            self._status = conditions.mark_route_not_yet_ready(self._status, self._now)

    def status(self) -> ServiceStatus:
        """The status to store."""
        meta = self._service.metadata
        return finish_status(self._service.status, self._status, meta.generation)


def is_migrated(route: Route, configuration: Configuration) -> bool:
    """Whether the Route's status serves its spec, the latest revision being the Configuration's."""
    spec, status = route.spec or RouteSpec(), route.status or RouteStatus()
    latest = configuration.status.latest_ready_revision_name if configuration.status else ""
    want = [_served(target, configuration.metadata.name, latest) for target in spec.traffic]
    got = [_served(target, "", "") for target in status.traffic]
    return want == got


def _served(target: TrafficTarget, configuration: str, latest: str) -> tuple[str, str, str, int]:
    is_latest = bool(configuration) and target.configuration_name == configuration
    revision = latest if is_latest else target.revision_name
    name = "" if is_latest else target.configuration_name
    return target.tag, revision, name, target.percent or 0
