"""How an Ingress's status changes (Knative ``networking/pkg/apis/networking/v1alpha1``)."""

import datetime as dt
from collections.abc import Sequence

from msgspec.structs import replace

from knarr.resources import knative_marks as marks
from knarr.resources.networking.ingress import (
    INGRESS_CONDITIONS,
    IngressStatus,
    LoadBalancerIngressStatus,
    LoadBalancerStatus,
)

NETWORK_CONFIGURED, LOAD_BALANCER_READY = "NetworkConfigured", "LoadBalancerReady"


def initialize(status: IngressStatus, now: dt.datetime) -> IngressStatus:
    """Every condition exists."""
    return marks.initialized(INGRESS_CONDITIONS, status, now)


def mark_network_configured(status: IngressStatus, now: dt.datetime) -> IngressStatus:
    """The gateways were told."""
    return marks.true(INGRESS_CONDITIONS, status, NETWORK_CONFIGURED, now)


def mark_resource_not_owned(
    status: IngressStatus, kind: str, name: str, now: dt.datetime
) -> IngressStatus:
    """An object of somebody else has a name that is needed."""
    text = marks.not_owned(kind, name)
    return marks.false(INGRESS_CONDITIONS, status, NETWORK_CONFIGURED, "NotOwned", text, now)


def mark_load_balancer_ready(
    status: IngressStatus,
    public: Sequence[LoadBalancerIngressStatus],
    private: Sequence[LoadBalancerIngressStatus],
    now: dt.datetime,
) -> IngressStatus:
    """The gateways route by it, at these addresses."""
    status = replace(
        status,
        public_load_balancer=LoadBalancerStatus(ingress=tuple(public)),
        private_load_balancer=LoadBalancerStatus(ingress=tuple(private)),
    )
    return marks.true(INGRESS_CONDITIONS, status, LOAD_BALANCER_READY, now)


def mark_load_balancer_not_ready(status: IngressStatus, now: dt.datetime) -> IngressStatus:
    """A gateway has not acknowledged it yet."""
    text = "Waiting for load balancer to be ready"
    return marks.unknown(
        INGRESS_CONDITIONS, status, LOAD_BALANCER_READY, "Uninitialized", text, now
    )


def mark_load_balancer_failed(
    status: IngressStatus, reason: str, message: str, now: dt.datetime
) -> IngressStatus:
    """A gateway cannot route by it, e.g. ``DomainConflict``."""
    return marks.false(INGRESS_CONDITIONS, status, LOAD_BALANCER_READY, reason, message, now)
