"""Reasons and messages of the transitions, word for word."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from knarr.meta.conditions import Condition, find_condition
from knarr.resources.apps.deployment import DeploymentStatus
from knarr.resources.autoscaling import podautoscaler_conditions as pa
from knarr.resources.autoscaling.podautoscaler import PodAutoscalerStatus
from knarr.resources.core.references import Condition as CoreCondition
from knarr.resources.networking import ingress_conditions as ingress
from knarr.resources.networking.ingress import IngressStatus, LoadBalancerIngressStatus
from knarr.resources.serving import configuration_conditions as configuration
from knarr.resources.serving import revision_conditions as revision
from knarr.resources.serving import route_conditions as route
from knarr.resources.serving import service_conditions as service
from knarr.resources.serving.configuration import ConfigurationStatus
from knarr.resources.serving.revision import RevisionStatus
from knarr.resources.serving.route import RouteStatus
from knarr.resources.serving.service import ServiceStatus

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
State = tuple[str, str, str]


def state(status: Any, kind: str) -> State:
    found = find_condition(status.conditions, kind)
    assert found is not None
    return (found.status, found.reason, found.message)


def ready(truth: Any, reason: str = "", message: str = "") -> tuple[Condition, ...]:
    return (Condition(type="Ready", status=truth, reason=reason, message=message),)


SERVICE_ROWS: list[tuple[Callable[[ServiceStatus], ServiceStatus], str, State]] = [
    (
        lambda s: service.mark_configuration_not_owned(s, "c", NOW),
        "ConfigurationsReady",
        ("False", "NotOwned", 'There is an existing Configuration "c" that we do not own.'),
    ),
    (
        lambda s: service.mark_route_not_owned(s, "r", NOW),
        "RoutesReady",
        ("False", "NotOwned", 'There is an existing Route "r" that we do not own.'),
    ),
    (
        lambda s: service.mark_configuration_not_reconciled(s, NOW),
        "ConfigurationsReady",
        (
            "Unknown",
            "OutOfDate",
            "The Configuration is still working to reflect the latest desired specification.",
        ),
    ),
    (
        lambda s: service.mark_route_not_reconciled(s, NOW),
        "RoutesReady",
        (
            "Unknown",
            "OutOfDate",
            "The Route is still working to reflect the latest desired specification.",
        ),
    ),
    (
        lambda s: service.mark_route_not_yet_ready(s, NOW),
        "RoutesReady",
        (
            "Unknown",
            "TrafficNotMigrated",
            "Traffic is not yet migrated to the latest revision.",
        ),
    ),
    (
        lambda s: service.mark_revision_name_taken(s, "x", NOW),
        "RoutesReady",
        (
            "False",
            "RevisionNameTaken",
            'The revision name "x" is taken by a conflicting Revision, so traffic will not be '
            "migrated",
        ),
    ),
]


@pytest.mark.parametrize(("mark", "kind", "expected"), SERVICE_ROWS)
def test_service(
    mark: Callable[[ServiceStatus], ServiceStatus], kind: str, expected: State
) -> None:
    status = mark(service.initialize(ServiceStatus(), NOW))
    assert state(status, kind) == state(status, "Ready") == expected


def test_service_follows_its_children() -> None:
    status = service.initialize(ServiceStatus(), NOW)
    source = ConfigurationStatus(
        latest_created_revision_name="a-2",
        latest_ready_revision_name="a-1",
        conditions=ready("True"),
    )
    status = service.propagate_configuration(status, source, NOW)
    assert status.latest_created_revision_name == "a-2"
    assert state(status, "Ready")[0] == "Unknown"
    routed = RouteStatus(url="http://a", conditions=ready("False", "RevisionMissing", "why"))
    status = service.propagate_route(status, routed, NOW)
    assert status.url == "http://a"
    assert state(status, "Ready") == ("False", "RevisionMissing", "why")
    status = service.propagate_route(status, RouteStatus(conditions=ready("True")), NOW)
    assert state(status, "Ready") == ("True", "", "")


def test_configuration() -> None:
    status = configuration.initialize(ConfigurationStatus(), NOW)
    status = configuration.set_latest_created(status, "a-1", NOW)
    assert state(status, "Ready") == ("Unknown", "", "")
    failed = configuration.mark_latest_created_failed(status, "a-1", "boom", NOW)
    assert state(failed, "Ready") == (
        "False",
        "RevisionFailed",
        'Revision "a-1" failed with message: boom.',
    )
    refused = configuration.mark_revision_creation_failed(status, "no", NOW)
    assert state(refused, "Ready")[1:] == (
        "RevisionFailed",
        "Revision creation failed with message: no.",
    )
    status = configuration.set_latest_ready(status, "a-1", NOW)
    assert state(status, "Ready") == ("True", "", "")
    gone = configuration.mark_latest_ready_deleted(status, NOW)
    assert state(gone, "Ready")[1:] == ("RevisionDeleted", 'Revision "a-1" was deleted.')
    status = configuration.set_latest_created(status, "a-2", NOW)
    assert state(status, "Ready")[0] == "Unknown"


ROUTE_ROWS: list[tuple[Callable[[RouteStatus], RouteStatus], str, State]] = [
    (
        lambda s: route.mark_configuration_not_ready(s, "c", NOW),
        "AllTrafficAssigned",
        (
            "Unknown",
            "RevisionMissing",
            'Configuration "c" is waiting for a Revision to become ready.',
        ),
    ),
    (
        lambda s: route.mark_configuration_failed(s, "c", NOW),
        "AllTrafficAssigned",
        ("False", "RevisionMissing", 'Configuration "c" does not have any ready Revision.'),
    ),
    (
        lambda s: route.mark_revision_not_ready(s, "r", NOW),
        "AllTrafficAssigned",
        ("Unknown", "RevisionMissing", 'Revision "r" is not yet ready.'),
    ),
    (
        lambda s: route.mark_revision_failed(s, "r", NOW),
        "AllTrafficAssigned",
        ("False", "RevisionMissing", 'Revision "r" failed to become ready.'),
    ),
    (
        lambda s: route.mark_missing_target(s, "Revision", "x", NOW),
        "AllTrafficAssigned",
        ("False", "RevisionMissing", 'Revision "x" referenced in traffic not found.'),
    ),
    (
        lambda s: route.mark_missing_target(s, "Configuration", "x", NOW),
        "AllTrafficAssigned",
        ("False", "ConfigurationMissing", 'Configuration "x" referenced in traffic not found.'),
    ),
    (
        lambda s: route.mark_revision_not_owned(s, "r", "b", "a", NOW),
        "AllTrafficAssigned",
        ("False", "RevisionNotOwned", 'Revision "r" belongs to Service "a", not Service "b".'),
    ),
    (
        lambda s: route.mark_revision_not_owned(s, "r", "b", "", NOW),
        "AllTrafficAssigned",
        ("False", "RevisionNotOwned", 'Revision "r" does not belong to Service "b".'),
    ),
    (
        lambda s: route.mark_unknown_traffic_error(s, "hm", NOW),
        "AllTrafficAssigned",
        ("Unknown", "Unknown", "hm"),
    ),
    (
        lambda s: route.mark_service_not_owned(s, "x", NOW),
        "IngressReady",
        ("False", "NotOwned", 'There is an existing placeholder Service "x" that we do not own.'),
    ),
    (
        lambda s: route.mark_ingress_not_owned(s, "x", NOW),
        "IngressReady",
        ("False", "NotOwned", 'There is an existing Ingress "x" that we do not own.'),
    ),
    (
        lambda s: route.mark_rollout_in_progress(s, NOW),
        "IngressReady",
        (
            "Unknown",
            "RolloutInProgress",
            "A gradual rollout of the latest revision(s) is in progress.",
        ),
    ),
    (
        lambda s: route.propagate_ingress(s, None, NOW),
        "IngressReady",
        ("Unknown", "IngressNotConfigured", "Ingress has not yet been reconciled."),
    ),
]


@pytest.mark.parametrize(("mark", "kind", "expected"), ROUTE_ROWS)
def test_route(mark: Callable[[RouteStatus], RouteStatus], kind: str, expected: State) -> None:
    status = mark(route.initialize(RouteStatus(), NOW))
    assert state(status, kind) == state(status, "Ready") == expected


def test_route_becomes_ready() -> None:
    status = route.initialize(RouteStatus(), NOW)
    status = route.mark_traffic_assigned(status, NOW)
    status = route.mark_tls_not_enabled(status, route.TLS_NOT_ENABLED, NOW)
    status = route.propagate_ingress(status, IngressStatus(conditions=ready("True")), NOW)
    assert state(status, "Ready") == ("True", "", "")
    assert state(status, "CertificateProvisioned") == (
        "True",
        "TLSNotEnabled",
        "external-domain-tls is not enabled",
    )


def deployment(**conditions: State) -> DeploymentStatus:
    return DeploymentStatus(
        conditions=tuple(
            CoreCondition(type=kind, status=truth, reason=reason, message=message)
            for kind, (truth, reason, message) in conditions.items()
        )
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (deployment(), ("Unknown", "Deploying", "")),
        (deployment(Progressing=("True", "NewReplicaSetAvailable", "x")), ("True", "", "")),
        (
            deployment(Progressing=("False", "ProgressDeadlineExceeded", "late")),
            ("False", "ProgressDeadlineExceeded", "late"),
        ),
        (
            deployment(
                Progressing=("True", "x", "x"),
                ReplicaFailure=("True", "FailedCreate", "forbidden: exceeded quota"),
            ),
            ("False", "FailedCreate", "forbidden: exceeded quota"),
        ),
    ],
)
def test_revision_follows_its_deployment(source: DeploymentStatus, expected: State) -> None:
    status = revision.initialize(RevisionStatus(), NOW)
    status = revision.propagate_deployment(status, source, NOW)
    assert state(status, "ResourcesAvailable") == expected


def scaled(truth: Any, *, started: bool, name: str = "r") -> PodAutoscalerStatus:
    conditions = ready(truth, "Why", "text")
    if started:
        conditions += (Condition(type="ScaleTargetInitialized", status="True"),)
    return PodAutoscalerStatus(
        conditions=conditions, service_name=name, desired_scale=-1, actual_scale=2
    )


def test_revision_follows_its_autoscaler() -> None:
    fresh = revision.initialize(RevisionStatus(), NOW)

    status = revision.propagate_autoscaler(fresh, PodAutoscalerStatus(), NOW)
    assert state(status, "Active") == ("Unknown", "Deploying", "")
    assert state(status, "ResourcesAvailable") == ("Unknown", "Deploying", "")

    status = revision.propagate_autoscaler(fresh, scaled("True", started=True), NOW)
    assert state(status, "Ready") == ("True", "", "")
    assert state(status, "Active") == ("True", "", "")
    assert (status.actual_replicas, status.desired_replicas) == (2, None)

    status = revision.propagate_autoscaler(fresh, scaled("False", started=False), NOW)
    assert state(status, "ResourcesAvailable") == (
        "False",
        "ProgressDeadlineExceeded",
        "Initial scale was never achieved",
    )

    idle = revision.propagate_autoscaler(fresh, scaled("True", started=True), NOW)
    idle = revision.propagate_autoscaler(idle, scaled("False", started=True), NOW)
    assert state(idle, "Ready") == ("True", "", "")
    assert state(idle, "Active") == ("False", "Why", "text")
    active = find_condition(idle.conditions, "Active")
    assert active is not None
    assert active.severity == "Info"

    failed = revision.mark_container_healthy_false(fresh, "ExitCode1", "boom", NOW)
    failed = revision.propagate_autoscaler(failed, scaled("True", started=True), NOW)
    assert state(failed, "ContainerHealthy") == ("False", "ExitCode1", "boom")


def test_messages_of_revisions() -> None:
    assert revision.exit_code_reason(5) == "ExitCode5"
    assert revision.container_exiting_message("x") == "Container failed with: x"
    assert revision.container_missing_message("i", "x") == 'Unable to fetch image "i": x'
    status = revision.mark_not_owned(RevisionStatus(), "Deployment", "d", NOW)
    assert state(status, "ResourcesAvailable")[1:] == (
        "NotOwned",
        'There is an existing Deployment "d" that we do not own.',
    )


def test_pod_autoscaler() -> None:
    status = pa.initialize(PodAutoscalerStatus(), NOW)
    status = pa.mark_activating(status, *pa.QUEUED, NOW)
    assert state(status, "Active") == (
        "Unknown",
        "Queued",
        "Requests to the target are being buffered as resources are provisioned.",
    )
    later = NOW + dt.timedelta(seconds=7)
    assert pa.in_state_for_s(status, "Unknown", later) == 7
    assert pa.in_state_for_s(status, "True", later) == -1
    status = pa.mark_active(status, NOW)
    status = pa.mark_scale_target_initialized(status, NOW)
    status = pa.mark_sks_ready(status, NOW)
    assert state(status, "Ready") == ("True", "", "")
    status = pa.mark_inactive(status, *pa.NO_TRAFFIC, NOW)
    assert state(status, "Ready") == (
        "False",
        "NoTraffic",
        "The target is not receiving traffic.",
    )
    status = pa.mark_resource_failed_creation(status, "Deployment", "d", NOW)
    assert state(status, "Active")[1:] == ("FailedCreate", 'Failed to create Deployment "d".')


def test_ingress() -> None:
    status = ingress.initialize(IngressStatus(), NOW)
    status = ingress.mark_load_balancer_not_ready(status, NOW)
    assert state(status, "Ready") == (
        "Unknown",
        "Uninitialized",
        "Waiting for load balancer to be ready",
    )
    status = ingress.mark_network_configured(status, NOW)
    address = LoadBalancerIngressStatus(ip="127.0.0.1")
    status = ingress.mark_load_balancer_ready(status, [address], [address], NOW)
    assert state(status, "Ready") == ("True", "", "")
    assert status.public_load_balancer is not None
    assert status.public_load_balancer.ingress == (address,)
    status = ingress.mark_load_balancer_failed(status, "DomainConflict", "taken", NOW)
    assert state(status, "Ready") == ("False", "DomainConflict", "taken")
