"""How a Route's status changes (Knative ``pkg/apis/serving/v1/route_lifecycle.go``)."""

import datetime as dt

from knarr.meta.conditions import find_condition
from knarr.resources import knative_marks as marks
from knarr.resources.networking.ingress import IngressStatus
from knarr.resources.serving.route import ROUTE_CONDITIONS, RouteStatus

ALL_TRAFFIC_ASSIGNED = "AllTrafficAssigned"
INGRESS_READY = "IngressReady"
CERTIFICATE_PROVISIONED = "CertificateProvisioned"
TLS_NOT_ENABLED = "external-domain-tls is not enabled"
TLS_NOT_ENABLED_FOR_CLUSTER_LOCAL = "TLS is not enabled for cluster-local"
_REVISION_MISSING = "RevisionMissing"


def initialize(status: RouteStatus, now: dt.datetime) -> RouteStatus:
    """Every condition exists."""
    return marks.initialized(ROUTE_CONDITIONS, status, now)


def _traffic_false(status: RouteStatus, reason: str, message: str, now: dt.datetime) -> RouteStatus:
    return marks.false(ROUTE_CONDITIONS, status, ALL_TRAFFIC_ASSIGNED, reason, message, now)


def _traffic_unknown(
    status: RouteStatus, reason: str, message: str, now: dt.datetime
) -> RouteStatus:
    return marks.unknown(ROUTE_CONDITIONS, status, ALL_TRAFFIC_ASSIGNED, reason, message, now)


def mark_service_not_owned(status: RouteStatus, name: str, now: dt.datetime) -> RouteStatus:
    """A core Service of somebody else has the name of a placeholder."""
    text = marks.not_owned("placeholder Service", name)
    return marks.false(ROUTE_CONDITIONS, status, INGRESS_READY, "NotOwned", text, now)


def mark_ingress_not_owned(status: RouteStatus, name: str, now: dt.datetime) -> RouteStatus:
    """An Ingress of somebody else has the name."""
    text = marks.not_owned("Ingress", name)
    return marks.false(ROUTE_CONDITIONS, status, INGRESS_READY, "NotOwned", text, now)


def mark_rollout_in_progress(status: RouteStatus, now: dt.datetime) -> RouteStatus:
    """Traffic moves to the newest Revision step by step."""
    text = "A gradual rollout of the latest revision(s) is in progress."
    return marks.unknown(ROUTE_CONDITIONS, status, INGRESS_READY, "RolloutInProgress", text, now)


def mark_ingress_not_configured(status: RouteStatus, now: dt.datetime) -> RouteStatus:
    """The Ingress has no status for its latest spec."""
    text = "Ingress has not yet been reconciled."
    return marks.unknown(ROUTE_CONDITIONS, status, INGRESS_READY, "IngressNotConfigured", text, now)


def mark_traffic_assigned(status: RouteStatus, now: dt.datetime) -> RouteStatus:
    """Every target has a Revision."""
    return marks.true(ROUTE_CONDITIONS, status, ALL_TRAFFIC_ASSIGNED, now)


def mark_unknown_traffic_error(status: RouteStatus, message: str, now: dt.datetime) -> RouteStatus:
    """Targets could not be resolved for a reason that may pass."""
    return _traffic_unknown(status, "Unknown", message, now)


def mark_configuration_not_ready(status: RouteStatus, name: str, now: dt.datetime) -> RouteStatus:
    """A Configuration has no ready Revision yet."""
    text = f'Configuration "{name}" is waiting for a Revision to become ready.'
    return _traffic_unknown(status, _REVISION_MISSING, text, now)


def mark_configuration_failed(status: RouteStatus, name: str, now: dt.datetime) -> RouteStatus:
    """A Configuration's Revisions failed."""
    text = f'Configuration "{name}" does not have any ready Revision.'
    return _traffic_false(status, _REVISION_MISSING, text, now)


def mark_revision_not_ready(status: RouteStatus, name: str, now: dt.datetime) -> RouteStatus:
    """A Revision is not ready yet."""
    return _traffic_unknown(status, _REVISION_MISSING, f'Revision "{name}" is not yet ready.', now)


def mark_revision_failed(status: RouteStatus, name: str, now: dt.datetime) -> RouteStatus:
    """A Revision failed."""
    text = f'Revision "{name}" failed to become ready.'
    return _traffic_false(status, _REVISION_MISSING, text, now)


def mark_revision_not_owned(
    status: RouteStatus, revision: str, expected: str, actual: str, now: dt.datetime
) -> RouteStatus:
    """A Revision belongs to another Service than the Route; ``actual`` is empty for none."""
    text = f'Revision "{revision}" does not belong to Service "{expected}".'
    if actual:
        text = f'Revision "{revision}" belongs to Service "{actual}", not Service "{expected}".'
    return _traffic_false(status, "RevisionNotOwned", text, now)


def mark_missing_target(status: RouteStatus, kind: str, name: str, now: dt.datetime) -> RouteStatus:
    """A target does not exist; ``kind`` is Revision or Configuration."""
    text = f'{kind} "{name}" referenced in traffic not found.'
    return _traffic_false(status, f"{kind}Missing", text, now)


def mark_tls_not_enabled(status: RouteStatus, message: str, now: dt.datetime) -> RouteStatus:
    """No certificate is wanted: ``TLS_NOT_ENABLED`` or ``TLS_NOT_ENABLED_FOR_CLUSTER_LOCAL``."""
    return marks.true(
        ROUTE_CONDITIONS,
        status,
        CERTIFICATE_PROVISIONED,
        now,
        reason="TLSNotEnabled",
        message=message,
    )


def propagate_ingress(
    status: RouteStatus, source: IngressStatus | None, now: dt.datetime
) -> RouteStatus:
    """The Route is as ready as its Ingress."""
    ready = find_condition(source.conditions, "Ready") if source else None
    if ready is None:
        return mark_ingress_not_configured(status, now)
    return marks.copied(ROUTE_CONDITIONS, status, INGRESS_READY, ready, now)
