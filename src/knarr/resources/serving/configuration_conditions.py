"""How a Configuration's status changes (Knative ``pkg/apis/serving/v1/configuration_lifecycle.go``)."""

import datetime as dt

from msgspec.structs import replace

from knarr.resources import knative_marks as marks
from knarr.resources.serving.configuration import CONFIGURATION_CONDITIONS, ConfigurationStatus

READY = "Ready"


def initialize(status: ConfigurationStatus, now: dt.datetime) -> ConfigurationStatus:
    """Every condition exists."""
    return marks.initialized(CONFIGURATION_CONDITIONS, status, now)


def set_latest_created(
    status: ConfigurationStatus, name: str, now: dt.datetime
) -> ConfigurationStatus:
    """There is a newer Revision; unless it is ready already, readiness is open."""
    status = replace(status, latest_created_revision_name=name)
    if status.latest_ready_revision_name == name:
        return status
    return marks.unknown(CONFIGURATION_CONDITIONS, status, READY, "", "", now)


def set_latest_ready(
    status: ConfigurationStatus, name: str, now: dt.datetime
) -> ConfigurationStatus:
    """A Revision became ready; when it is the newest, so does the Configuration."""
    status = replace(status, latest_ready_revision_name=name)
    if status.latest_created_revision_name != name:
        return status
    return marks.true(CONFIGURATION_CONDITIONS, status, READY, now)


def mark_latest_created_failed(
    status: ConfigurationStatus, name: str, message: str, now: dt.datetime
) -> ConfigurationStatus:
    """The newest Revision failed."""
    text = f'Revision "{name}" failed with message: {message}.'
    return marks.false(CONFIGURATION_CONDITIONS, status, READY, "RevisionFailed", text, now)


def mark_revision_creation_failed(
    status: ConfigurationStatus, message: str, now: dt.datetime
) -> ConfigurationStatus:
    """The newest Revision could not be made."""
    text = f"Revision creation failed with message: {message}."
    return marks.false(CONFIGURATION_CONDITIONS, status, READY, "RevisionFailed", text, now)


def mark_latest_ready_deleted(status: ConfigurationStatus, now: dt.datetime) -> ConfigurationStatus:
    """The Revision that was ready is gone."""
    text = f'Revision "{status.latest_ready_revision_name}" was deleted.'
    return marks.false(CONFIGURATION_CONDITIONS, status, READY, "RevisionDeleted", text, now)
