"""Decides what becomes of an Ingress: who owns its hosts, what keeps it out, and its status; pure."""

import datetime as dt
from collections.abc import Callable, Iterable

from knarr.meta.conditions import is_true
from knarr.resources import knative_marks as marks
from knarr.resources.networking import ingress_conditions as conditions
from knarr.resources.networking.ingress import (
    INGRESS_CONDITIONS,
    Ingress,
    IngressStatus,
    LoadBalancerIngressStatus,
)
from knarr.serving import labels
from knarr.serving.marks import finish_status


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


def owner_of(
    host: str, ingress_class: str, others_of: Callable[[str], Iterable[Ingress]]
) -> Ingress | None:
    """The Ingress of ours that has a host, as ``find_conflict`` decides; None when nobody has it."""
    mine = [item for item in others_of(host) if not item.deleting and is_ours(item, ingress_class)]
    return min(
        mine, key=lambda item: (item.metadata.creation_timestamp or "", item.key), default=None
    )


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
        self._now = now
        self._status = conditions.initialize(ingress.status or IngressStatus(), now)

    def conflict(self, host: str) -> None:
        """A host belongs to another Ingress."""
        text = f'The host "{host}" is already in use by another Ingress.'
        self._status = conditions.mark_load_balancer_failed(
            self._status, "DomainConflict", text, self._now
        )

    def refused(self, reason: str, message: str) -> None:
        """The gateway cannot serve the spec."""
        self._status = marks.false(
            INGRESS_CONDITIONS,
            self._status,
            conditions.NETWORK_CONFIGURED,
            reason,
            message,
            self._now,
        )

    def revisions_missing(self, missing: Iterable[str]) -> None:
        """A split names revisions that do not exist."""
        names = ", ".join(f'"{name}"' for name in sorted(missing))
        self.refused("RevisionMissing", f"Splits refer to revisions that do not exist: {names}.")

    def hosts_absent(self, hosts: Iterable[str]) -> None:
        """Paths lead to what is neither a Route's Service nor one with endpoints."""
        names = ", ".join(f'"{host}"' for host in hosts)
        text = f"No Route serves {names}, and no Service of this name has a port 80."
        self.refused("BackendNotServed", text)

    def hosts_divided(self, hosts: Iterable[str]) -> None:
        """Only a share of a path leads to a Service."""
        names = ", ".join(f'"{host}"' for host in hosts)
        text = f"A path that leads to {names} must have this as its only split."
        self.refused("NotSupported", text)

    def waiting(self) -> None:
        """The gateways have been told and have not all acknowledged yet."""
        status = conditions.mark_network_configured(self._status, self._now)
        self._status = conditions.mark_load_balancer_not_ready(status, self._now)

    def ready(self, gateway_host: str) -> None:
        """Every gateway serves this version."""
        status = conditions.mark_network_configured(self._status, self._now)
        balancer = (LoadBalancerIngressStatus(domain_internal=gateway_host),)
        self._status = conditions.mark_load_balancer_ready(status, balancer, balancer, self._now)

    def status(self) -> IngressStatus:
        """The status to store."""
        meta = self._ingress.metadata
        return finish_status(self._ingress.status, self._status, meta.generation)
