"""Computes a Service's status from its Configuration and Route; pure."""

import datetime as dt

import msgspec

from knarr.meta.conditions import find_condition
from knarr.resources.serving.configuration import Configuration, ConfigurationStatus
from knarr.resources.serving.podspec import RevisionTemplate
from knarr.resources.serving.route import Route, RouteSpec, RouteStatus
from knarr.resources.serving.service import SERVICE_CONDITIONS, Service, ServiceStatus
from knarr.resources.serving.traffic import TrafficTarget
from knarr.serving.marks import Marks

CONFIGURATIONS_READY = "ConfigurationsReady"
ROUTES_READY = "RoutesReady"


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
        self._before = service.status or ServiceStatus()
        self._fields = self._before
        self._marks = Marks(SERVICE_CONDITIONS, self._before.conditions, now)

    def not_owned(self, kind: str) -> None:
        """A child's name is taken by an object of someone else."""
        condition = CONFIGURATIONS_READY if kind == "Configuration" else ROUTES_READY
        name = self._service.metadata.name
        self._marks.false(
            condition, "NotOwned", f'There is an existing {kind} "{name}" that we do not own.'
        )

    def follow_configuration(self, configuration: Configuration) -> None:
        """Copy what the Configuration reached."""
        if not is_up_to_date(configuration):
            self._marks.unknown(
                CONFIGURATIONS_READY,
                "OutOfDate",
                "The Configuration is still working to reflect the latest desired specification.",
            )
            return
        status = configuration.status or ConfigurationStatus()
        self._fields = msgspec.structs.replace(
            self._fields,
            latest_ready_revision_name=status.latest_ready_revision_name,
            latest_created_revision_name=status.latest_created_revision_name,
        )
        self._marks.copy(CONFIGURATIONS_READY, find_condition(status.conditions, "Ready"))

    def name_taken(self, name: str) -> None:
        """The chosen Revision name belongs to another Revision."""
        self._marks.false(
            ROUTES_READY,
            "RevisionNameTaken",
            f'The revision name "{name}" is taken by a conflicting Revision, so traffic will not '
            "be migrated",
        )

    def follow_route(self, route: Route, configuration: Configuration) -> None:
        """Copy what the Route reached; Ready only when it serves what is wanted now."""
        if not is_up_to_date(route):
            self._marks.unknown(
                ROUTES_READY,
                "OutOfDate",
                "The Route is still working to reflect the latest desired specification.",
            )
        else:
            status = route.status or RouteStatus()
            self._fields = msgspec.structs.replace(
                self._fields, url=status.url, address=status.address, traffic=status.traffic
            )
            self._marks.copy(ROUTES_READY, find_condition(status.conditions, "Ready"))
        if self._marks.is_true(ROUTES_READY) and not is_migrated(route, configuration):
            self._marks.unknown(
                ROUTES_READY,
                "TrafficNotMigrated",
                "Traffic is not yet migrated to the latest revision.",
            )

    def status(self) -> ServiceStatus:
        """The status to store."""
        return msgspec.structs.replace(
            self._fields,
            observed_generation=self._service.metadata.generation,
            conditions=self._marks.finish(),
        )


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
