"""Decides what becomes of an Ingress: who owns its hosts, what keeps it out, and its status; pure."""

import datetime as dt
from collections.abc import Callable, Iterable

import msgspec

from knarr.meta.conditions import is_true
from knarr.resources.networking.ingress import (
    INGRESS_CONDITIONS,
    Ingress,
    IngressStatus,
    LoadBalancerIngressStatus,
    LoadBalancerStatus,
)
from knarr.serving import labels
from knarr.serving.marks import Marks

NETWORK = "NetworkConfigured"
BALANCER = "LoadBalancerReady"


def hosts_of(ingress: Ingress) -> tuple[str, ...]:
    """All hosts of an Ingress, once each."""
    rules = ingress.spec.rules if ingress.spec else ()
    return tuple(dict.fromkeys(host for rule in rules for host in rule.hosts))


def is_ours(ingress: Ingress, ingress_class: str) -> bool:
    """Whether our gateway serves an Ingress."""
    return ingress.metadata.annotation(labels.INGRESS_CLASS) == ingress_class


def find_conflict(
    ingress: Ingress, ingress_class: str, others_of: Callable[[str], Iterable[Ingress]]
) -> str:
    """A host that belongs to an older Ingress, or empty; of equal age the smaller name wins."""
    mine = (ingress.metadata.creation_timestamp or "", ingress.key)
    for host in hosts_of(ingress):
        for other in others_of(host):
            if other.key == ingress.key or other.deleting or not is_ours(other, ingress_class):
                continue
            if (other.metadata.creation_timestamp or "", other.key) < mine:
                return host
    return ""


def is_settled(ingress: Ingress) -> bool:
    """Whether the status says Ready of the newest generation.

    Then it stays so while a gateway that starts, or a server that starts, catches up: gateways keep
    serving what they have.
    """
    status = ingress.status
    return (
        status is not None
        and status.observed_generation == ingress.metadata.generation
        and is_true(status.conditions, "Ready")
    )


class IngressPlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, ingress: Ingress, now: dt.datetime) -> None:
        self._ingress = ingress
        self._fields = ingress.status or IngressStatus()
        self._marks = Marks(INGRESS_CONDITIONS, self._fields.conditions, now)

    def conflict(self, host: str) -> None:
        """A host belongs to another Ingress."""
        text = f'The host "{host}" is already in use by another Ingress.'
        self._marks.false(BALANCER, "DomainConflict", text)

    def unsupported(self, message: str) -> None:
        """The spec asks for what the gateway cannot do."""
        self._marks.false(NETWORK, "NotSupported", message)

    def revisions_missing(self, missing: Iterable[str]) -> None:
        """A split names revisions that do not exist."""
        names = ", ".join(f'"{name}"' for name in sorted(missing))
        text = f"Splits refer to revisions that do not exist: {names}."
        self._marks.false(NETWORK, "RevisionMissing", text)

    def waiting(self) -> None:
        """The gateways have been told and have not all acknowledged yet."""
        self._marks.true(NETWORK)
        text = "Waiting for load balancer to be ready"
        self._marks.unknown(BALANCER, "Uninitialized", text)

    def ready(self, gateway_host: str) -> None:
        """Every gateway serves this version."""
        self._marks.true(NETWORK)
        self._marks.true(BALANCER)
        balancer = LoadBalancerStatus(
            ingress=(LoadBalancerIngressStatus(domain_internal=gateway_host),)
        )
        self._fields = msgspec.structs.replace(
            self._fields, public_load_balancer=balancer, private_load_balancer=balancer
        )

    def status(self) -> IngressStatus:
        """The status to store."""
        return msgspec.structs.replace(
            self._fields,
            observed_generation=self._ingress.metadata.generation,
            conditions=self._marks.finish(),
        )
