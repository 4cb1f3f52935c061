"""Computes a Route's status; pure (Knative ``pkg/apis/serving/v1/route_lifecycle.go``)."""

import datetime as dt

import msgspec

from knarr.meta.conditions import find_condition, is_true
from knarr.resources.knative import Addressable
from knarr.resources.networking.ingress import Ingress, IngressStatus
from knarr.resources.serving.route import ROUTE_CONDITIONS, Route, RouteStatus
from knarr.resources.serving.traffic import TrafficTarget
from knarr.serving.marks import Marks
from knarr.serving.route.hosts import Naming, Visibility
from knarr.serving.route.rollout import Rollout, shares_of
from knarr.serving.route.traffic import DEFAULT_TAG, Traffic, TrafficProblem

ASSIGNED = "AllTrafficAssigned"
INGRESS = "IngressReady"
CERTIFICATE = "CertificateProvisioned"


class RoutePlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, route: Route, now: dt.datetime) -> None:
        self._route = route
        self._fields = route.status or RouteStatus()
        self._marks = Marks(ROUTE_CONDITIONS, self._fields.conditions, now)
        self.was_routed = is_true(self._fields.conditions, INGRESS)
        if self._fields.observed_generation != route.metadata.generation:
            self.ingress_pending()

    def ingress_pending(self) -> None:
        """The Ingress has not been looked at yet."""
        self._marks.unknown(INGRESS, "IngressNotConfigured", "Ingress has not yet been reconciled.")

    def locate(self, naming: Naming, visibility: Visibility) -> None:
        """Say where the Route is reached.

        Raises:
            DomainError: a host cannot be formed.
        """
        meta = self._route.metadata
        inside = naming.local_host(meta.name, meta.namespace)
        self._fields = msgspec.structs.replace(
            self._fields,
            url=naming.url(self._route, DEFAULT_TAG, visibility),
            address=Addressable(url=f"http://{inside}"),
        )

    def bad_domain(self, message: str) -> None:
        """A host cannot be formed."""
        self._marks.false(ASSIGNED, "ErrorConfig", message)

    def bad_traffic(self, problem: TrafficProblem) -> None:
        """A target cannot be served; what is served stays as it is."""
        if problem.status == "False":
            self._marks.false(ASSIGNED, problem.reason, problem.message)
        else:
            self._marks.unknown(ASSIGNED, problem.reason, problem.message)

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
        self._fields = msgspec.structs.replace(self._fields, traffic=tuple(listed))
        self._marks.true(ASSIGNED)

    def service_not_owned(self, name: str) -> None:
        """A placeholder Service's name is taken by an object of someone else."""
        text = f'There is an existing placeholder Service "{name}" that we do not own.'
        self._marks.false(INGRESS, "NotOwned", text)

    def ingress_not_owned(self, name: str) -> None:
        """The Ingress's name is taken by an object of someone else."""
        text = f'There is an existing Ingress "{name}" that we do not own.'
        self._marks.false(INGRESS, "NotOwned", text)

    def bad_protocol(self, message: str) -> None:
        """The http-protocol annotation has no meaning."""
        self._marks.false(INGRESS, "InvalidHttpProtocol", message)

    def certificates(self, *, external: bool, local: bool) -> None:
        """Say that there are none, and refuse what asks for them."""
        asked = "external-domain-tls" if external else "cluster-local-domain-tls"
        if external or local:
            self._marks.false(
                CERTIFICATE,
                "TLSNotSupported",
                f"{asked} is enabled in config-network, and this version of Knarr provisions no "
                "certificates: set it to Disabled",
            )
            return
        self._marks.true(CERTIFICATE, "TLSNotEnabled", "external-domain-tls is not enabled")

    def follow_ingress(self, ingress: Ingress, rollout: Rollout) -> None:
        """Take over what the Ingress reached; a rollout under way keeps it from being Ready."""
        status = ingress.status or IngressStatus()
        ready = find_condition(status.conditions, "Ready")
        if status.observed_generation != ingress.metadata.generation or ready is None:
            self.ingress_pending()
        else:
            self._marks.copy(INGRESS, ready)
        if not rollout.done:
            self._marks.unknown(
                INGRESS,
                "RolloutInProgress",
                "A gradual rollout of the latest revision(s) is in progress.",
            )

    def status(self) -> RouteStatus:
        """The status to store."""
        return msgspec.structs.replace(
            self._fields,
            observed_generation=self._route.metadata.generation,
            conditions=self._marks.finish(),
        )
