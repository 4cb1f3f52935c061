"""Computes a DomainMapping's status; pure (Knative ``pkg/reconciler/domainmapping``)."""

import datetime as dt

from msgspec.structs import replace

from knarr.resources import knative_marks as marks
from knarr.resources.config.network import NetworkConfig
from knarr.resources.knative import Addressable
from knarr.resources.networking.clusterdomainclaim import ClusterDomainClaim
from knarr.resources.networking.ingress import Ingress, IngressStatus
from knarr.resources.serving import domainmapping_conditions as conditions
from knarr.resources.serving.domainmapping import (
    DomainMapping,
    DomainMappingSpec,
    DomainMappingStatus,
)
from knarr.resources.serving.route_conditions import TLS_NOT_ENABLED
from knarr.serving import labels
from knarr.serving.config import ServingConfig
from knarr.serving.marks import finish_status

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}


def url_of(mapping: DomainMapping, config: ServingConfig) -> str:
    """The URL of a domain; with the port of the gateway when that is not the usual one."""
    domain = mapping.metadata.name
    if has_certificate(mapping):
        return f"https://{domain}"
    scheme = config.network.default_external_scheme
    usual = {"http": 80, "https": 443}.get(scheme)
    port = config.external_port
    return f"{scheme}://{domain}" if port == usual else f"{scheme}://{domain}:{port}"


def has_certificate(mapping: DomainMapping) -> bool:
    """Whether the user brings a certificate."""
    return (mapping.spec or DomainMappingSpec()).tls is not None


def holds(mapping: DomainMapping, claim: ClusterDomainClaim) -> bool:
    """Whether the namespace of a DomainMapping may have the domain."""
    return claim.spec is not None and claim.spec.namespace == mapping.metadata.namespace


class DomainMappingPlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, mapping: DomainMapping, config: ServingConfig, now: dt.datetime) -> None:
        self._mapping = mapping
        self._now = now
        before = mapping.status or DomainMappingStatus()
        status = conditions.initialize(before, now)
        if before.observed_generation != mapping.metadata.generation:
            status = conditions.mark_ingress_not_configured(status, now)
        url = url_of(mapping, config)
        self._status = replace(status, url=url, address=Addressable(url=url))

    def claimed(self) -> None:
        """The namespace holds the domain."""
        self._status = conditions.mark_domain_claimed(self._status, self._now)

    def claimed_by_another(self) -> None:
        """Another namespace holds it."""
        self._status = conditions.mark_claim_not_owned(self._status, self._now)

    def unclaimed(self) -> None:
        """Nobody holds it, and claims are not made by themselves."""
        text = (
            f'no ClusterDomainClaim found for domain "{self._mapping.metadata.name}" '
            "(and autocreate-cluster-domain-claims property is not true)"
        )
        self._status = conditions.mark_claim_failed(self._status, text, self._now)

    def certificates(self, network: NetworkConfig) -> None:
        """Say that the user brings one or that there is none, and refuse what asks for one."""
        off = self._mapping.metadata.annotation(labels.DISABLE_EXTERNAL_TLS) in _TRUE
        if has_certificate(self._mapping):
            self._status = conditions.mark_certificate_not_required(self._status, self._now)
        elif network.external_domain_tls and not off:
            text = (
                "external-domain-tls is enabled in config-network, and this version of Knarr "
                "provisions no certificates: set it to Disabled, or bring one in spec.tls"
            )
            self._status = conditions.mark_certificate_failed(
                self._status, "TLSNotSupported", text, self._now
            )
        else:
            self._status = conditions.mark_tls_not_enabled(self._status, TLS_NOT_ENABLED, self._now)

    def unresolved(self, message: str) -> None:
        """The reference leads nowhere; what is served stays as it is."""
        self._status = conditions.mark_reference_not_resolved(self._status, message, self._now)

    def resolved(self) -> None:
        """The reference leads to a Service."""
        self._status = conditions.mark_reference_resolved(self._status, self._now)

    def ingress_not_owned(self, name: str) -> None:
        """The Ingress's name is taken by an object of someone else."""
        self.ingress_failed("NotOwned", marks.not_owned("Ingress", name))

    def ingress_failed(self, reason: str, message: str) -> None:
        """There can be no Ingress."""
        self._status = conditions.mark_ingress_failed(self._status, reason, message, self._now)

    def follow_ingress(self, ingress: Ingress) -> None:
        """Take over what the Ingress reached."""
        source = ingress.status or IngressStatus()
        current = source.observed_generation == ingress.metadata.generation
        self._status = conditions.propagate_ingress(
            self._status, source if current else None, self._now
        )

    def status(self) -> DomainMappingStatus:
        """The status to store."""
        meta = self._mapping.metadata
        return finish_status(self._mapping.status, self._status, meta.generation)
