"""How a DomainMapping's status changes (Knative ``pkg/apis/serving/v1beta1/domainmapping_lifecycle.go``)."""

import datetime as dt

from knarr.meta.conditions import find_condition
from knarr.resources import knative_marks as marks
from knarr.resources.networking.ingress import IngressStatus
from knarr.resources.serving.domainmapping import (
    DOMAIN_MAPPING_CONDITIONS as CONDITIONS,
)
from knarr.resources.serving.domainmapping import DomainMappingStatus

DOMAIN_CLAIMED = "DomainClaimed"
REFERENCE_RESOLVED = "ReferenceResolved"
INGRESS_READY = "IngressReady"
CERTIFICATE_PROVISIONED = "CertificateProvisioned"
EXTERNALLY_PROVIDED = "TLS certificate was provided externally"
ALREADY_CLAIMED = "The domain name is already in use by another DomainMapping"


def initialize(status: DomainMappingStatus, now: dt.datetime) -> DomainMappingStatus:
    """Every condition exists."""
    return marks.initialized(CONDITIONS, status, now)


def mark_domain_claimed(status: DomainMappingStatus, now: dt.datetime) -> DomainMappingStatus:
    """The namespace holds the domain."""
    return marks.true(CONDITIONS, status, DOMAIN_CLAIMED, now)


def mark_claim_not_owned(status: DomainMappingStatus, now: dt.datetime) -> DomainMappingStatus:
    """Another namespace holds the domain."""
    return marks.false(
        CONDITIONS, status, DOMAIN_CLAIMED, "DomainAlreadyClaimed", ALREADY_CLAIMED, now
    )


def mark_claim_failed(
    status: DomainMappingStatus, message: str, now: dt.datetime
) -> DomainMappingStatus:
    """Nobody holds the domain, and it may not be taken."""
    return marks.false(CONDITIONS, status, DOMAIN_CLAIMED, "DomainClaimFailed", message, now)


def mark_reference_resolved(status: DomainMappingStatus, now: dt.datetime) -> DomainMappingStatus:
    """What is mapped to has a name inside."""
    return marks.true(CONDITIONS, status, REFERENCE_RESOLVED, now)


def mark_reference_not_resolved(
    status: DomainMappingStatus, message: str, now: dt.datetime
) -> DomainMappingStatus:
    """What is mapped to is not there, or cannot be mapped to."""
    return marks.false(CONDITIONS, status, REFERENCE_RESOLVED, "ResolveFailed", message, now)


def mark_tls_not_enabled(
    status: DomainMappingStatus, message: str, now: dt.datetime
) -> DomainMappingStatus:
    """No certificate is wanted."""
    return marks.true(
        CONDITIONS,
        status,
        CERTIFICATE_PROVISIONED,
        now,
        reason="TLSNotEnabled",
        message=message,
    )


def mark_certificate_not_required(
    status: DomainMappingStatus, now: dt.datetime
) -> DomainMappingStatus:
    """The user brings the certificate."""
    return marks.true(
        CONDITIONS,
        status,
        CERTIFICATE_PROVISIONED,
        now,
        reason="CertificateExternallyProvided",
        message=EXTERNALLY_PROVIDED,
    )


def mark_certificate_failed(
    status: DomainMappingStatus, reason: str, message: str, now: dt.datetime
) -> DomainMappingStatus:
    """A certificate is wanted that nobody makes."""
    return marks.false(CONDITIONS, status, CERTIFICATE_PROVISIONED, reason, message, now)


def mark_ingress_failed(
    status: DomainMappingStatus, reason: str, message: str, now: dt.datetime
) -> DomainMappingStatus:
    """There can be no Ingress."""
    return marks.false(CONDITIONS, status, INGRESS_READY, reason, message, now)


def mark_ingress_not_configured(
    status: DomainMappingStatus, now: dt.datetime
) -> DomainMappingStatus:
    """The Ingress has no status for its latest spec."""
    message = "Ingress has not yet been reconciled."
    return marks.unknown(CONDITIONS, status, INGRESS_READY, "IngressNotConfigured", message, now)


def propagate_ingress(
    status: DomainMappingStatus, source: IngressStatus | None, now: dt.datetime
) -> DomainMappingStatus:
    """The DomainMapping is as ready as its Ingress."""
    ready = find_condition(source.conditions, "Ready") if source else None
    if ready is None:
        return mark_ingress_not_configured(status, now)
    return marks.copied(CONDITIONS, status, INGRESS_READY, ready, now)
