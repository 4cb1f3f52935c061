"""How a Service's status changes (Knative ``pkg/apis/serving/v1/service_lifecycle.go``)."""

import datetime as dt

from msgspec.structs import replace

from knarr.meta.conditions import find_condition
from knarr.resources import knative_marks as marks
from knarr.resources.serving.configuration import ConfigurationStatus
from knarr.resources.serving.route import RouteStatus
from knarr.resources.serving.service import SERVICE_CONDITIONS, ServiceStatus

CONFIGURATIONS_READY, ROUTES_READY = "ConfigurationsReady", "RoutesReady"


def initialize(status: ServiceStatus, now: dt.datetime) -> ServiceStatus:
    """Every condition exists."""
    return marks.initialized(SERVICE_CONDITIONS, status, now)


def mark_configuration_not_owned(
    status: ServiceStatus, name: str, now: dt.datetime
) -> ServiceStatus:
    """A Configuration of somebody else has the name."""
    text = marks.not_owned("Configuration", name)
    return marks.false(SERVICE_CONDITIONS, status, CONFIGURATIONS_READY, "NotOwned", text, now)


def mark_route_not_owned(status: ServiceStatus, name: str, now: dt.datetime) -> ServiceStatus:
    """A Route of somebody else has the name."""
    text = marks.not_owned("Route", name)
    return marks.false(SERVICE_CONDITIONS, status, ROUTES_READY, "NotOwned", text, now)


def mark_configuration_not_reconciled(status: ServiceStatus, now: dt.datetime) -> ServiceStatus:
    """The Configuration's controller has not seen the latest spec."""
    text = "The Configuration is still working to reflect the latest desired specification."
    return marks.unknown(SERVICE_CONDITIONS, status, CONFIGURATIONS_READY, "OutOfDate", text, now)


def mark_route_not_reconciled(status: ServiceStatus, now: dt.datetime) -> ServiceStatus:
    """The Route's controller has not seen the latest spec."""
    text = "The Route is still working to reflect the latest desired specification."
    return marks.unknown(SERVICE_CONDITIONS, status, ROUTES_READY, "OutOfDate", text, now)


def mark_route_not_yet_ready(status: ServiceStatus, now: dt.datetime) -> ServiceStatus:
    """The Route is ready and does not send its traffic where the Service says."""
    text = "Traffic is not yet migrated to the latest revision."
    return marks.unknown(SERVICE_CONDITIONS, status, ROUTES_READY, "TrafficNotMigrated", text, now)


def mark_revision_name_taken(status: ServiceStatus, name: str, now: dt.datetime) -> ServiceStatus:
    """Another Revision has the name the user chose."""
    text = (
        f'The revision name "{name}" is taken by a conflicting Revision, so traffic will not be '
        "migrated"
    )
    return marks.false(SERVICE_CONDITIONS, status, ROUTES_READY, "RevisionNameTaken", text, now)


def propagate_configuration(
    status: ServiceStatus, source: ConfigurationStatus, now: dt.datetime
) -> ServiceStatus:
    """Names of Revisions and readiness come from the Configuration."""
    status = replace(
        status,
        latest_ready_revision_name=source.latest_ready_revision_name,
        latest_created_revision_name=source.latest_created_revision_name,
    )
    ready = find_condition(source.conditions, "Ready")
    if ready is None:
        return status
    return marks.copied(SERVICE_CONDITIONS, status, CONFIGURATIONS_READY, ready, now)


def propagate_route(status: ServiceStatus, source: RouteStatus, now: dt.datetime) -> ServiceStatus:
    """URL, traffic and readiness come from the Route."""
    status = replace(status, url=source.url, address=source.address, traffic=source.traffic)
    ready = find_condition(source.conditions, "Ready")
    if ready is None:
        return status
    return marks.copied(SERVICE_CONDITIONS, status, ROUTES_READY, ready, now)
