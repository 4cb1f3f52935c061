"""Computes a Route's status; pure (Knative ``pkg/reconciler/route``)."""

import datetime as dt

from msgspec.structs import replace

from knarr.meta.conditions import is_true
from knarr.resources import knative_marks as marks
from knarr.resources.knative import Addressable
from knarr.resources.networking.ingress import Ingress, IngressStatus
from knarr.resources.serving import route_conditions as conditions
from knarr.resources.serving.route import ROUTE_CONDITIONS, Route, RouteStatus
from knarr.resources.serving.traffic import TrafficTarget
from knarr.serving.marks import finish_status
from knarr.serving.route.hosts import Naming, Visibility
from knarr.serving.route.rollout import Rollout, shares_of
from knarr.serving.route.traffic import DEFAULT_TAG, Traffic, TrafficProblem


class RoutePlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, route: Route, now: dt.datetime) -> None:
        self._route = route
        self._now = now
        before = route.status or RouteStatus()
        self._status = conditions.initialize(before, now)
        self.was_routed = is_true(before.conditions, conditions.INGRESS_READY)
        if before.observed_generation != route.metadata.generation:
            self._status = conditions.mark_ingress_not_configured(self._status, now)

    def locate(self, naming: Naming, visibility: Visibility) -> None:
        """Say where the Route is reached.

        Raises:
            DomainError: a host cannot be formed.
        """
        meta = self._route.metadata
        inside = naming.local_host(meta.name, meta.namespace)
        self._status = replace(
            self._status,
            url=naming.url(self._route, DEFAULT_TAG, visibility),
            address=Addressable(url=f"http://{inside}"),
        )

    def bad_domain(self, message: str) -> None:
        """A host cannot be formed."""
        self._false(conditions.ALL_TRAFFIC_ASSIGNED, "ErrorConfig", message)

    def _false(self, kind: str, reason: str, message: str) -> None:
        self._status = marks.false(ROUTE_CONDITIONS, self._status, kind, reason, message, self._now)

    def bad_traffic(self, problem: TrafficProblem) -> None:
        """A target cannot be served; what is served stays as it is."""
        self._status = problem.mark(self._status, self._now)

    def assign(
        self,
        traffic: Traffic,
        naming: Naming,
        visibilities: dict[str, Visibility],
        rollout: Rollout,
    ) -> None:
        """All targets are resolved.

        Raises:
            DomainError: a host cannot be formed.
        """
        listed: list[TrafficTarget] = []
        for target in traffic.listed:
            url = ""
            if target.tag:
                visibility = visibilities.get(target.tag, "ExternalIP")
                url = naming.url(self._route, target.tag, visibility)
            listed += [
                TrafficTarget(
                    tag=target.tag,
                    revision_name=share.revision_name,
                    percent=share.percent,
                    latest_revision=target.latest,
                    url=url,
                )
                for share in shares_of(target, target.tag, rollout)
            ]
        self._status = conditions.mark_traffic_assigned(
            replace(self._status, traffic=tuple(listed)), self._now
        )

    def service_not_owned(self, name: str) -> None:
        """A placeholder Service's name is taken by an object of someone else."""
        self._status = conditions.mark_service_not_owned(self._status, name, self._now)

    def ingress_not_owned(self, name: str) -> None:
        """The Ingress's name is taken by an object of someone else."""
        self._status = conditions.mark_ingress_not_owned(self._status, name, self._now)

    def bad_protocol(self, message: str) -> None:
        """The http-protocol annotation has no meaning."""
        self._false(conditions.INGRESS_READY, "InvalidHttpProtocol", message)

    def certificates(self, *, external: bool, local: bool) -> None:
        """Say that there are none, and refuse what asks for them."""
        if external or local:
            asked = "external-domain-tls" if external else "cluster-local-domain-tls"
            self._false(
                conditions.CERTIFICATE_PROVISIONED,
                "TLSNotSupported",
                f"{asked} is enabled in config-network, and this version of Knarr provisions no "
                "certificates: set it to Disabled",
            )
            return
        self._status = conditions.mark_tls_not_enabled(
            self._status, conditions.TLS_NOT_ENABLED, self._now
        )

    def follow_ingress(self, ingress: Ingress, rollout: Rollout) -> None:
        """Take over what the Ingress reached; a rollout under way keeps it from being Ready."""
        source = ingress.status or IngressStatus()
        current = source.observed_generation == ingress.metadata.generation
        self._status = conditions.propagate_ingress(
            self._status, source if current else None, self._now
        )
        if not rollout.done:
            self._status = conditions.mark_rollout_in_progress(self._status, self._now)

    def status(self) -> RouteStatus:
        """The status to store."""
        meta = self._route.metadata
        return finish_status(self._route.status, self._status, meta.generation)
