"""Computes a Revision's status from its digests, Deployment, Pods and PodAutoscaler; pure.

Rules of Knative ``pkg/apis/serving/v1/revision_lifecycle.go`` and ``pkg/reconciler/revision``. One
addition of ours: why a container waits (an image that cannot be pulled, a volume that is not there) is
told at once as Unknown, not only after the progress deadline.
"""

import datetime as dt
from collections.abc import Sequence

import msgspec

from knarr.meta.conditions import Condition, ConditionSet, find_condition, is_true
from knarr.resources.apps.deployment import Deployment, DeploymentStatus
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler, PodAutoscalerStatus
from knarr.resources.core.container import ContainerStateTerminated
from knarr.resources.core.container import ContainerStatus as RunStatus
from knarr.resources.core.pod import Pod
from knarr.resources.serving.revision import (
    REVISION_CONDITIONS,
    ContainerStatus,
    Revision,
    RevisionStatus,
)
from knarr.serving import labels
from knarr.serving.autoscaler.policy import Reachability
from knarr.serving.marks import Marks

RESOURCES = "ResourcesAvailable"
CONTAINER = "ContainerHealthy"
ACTIVE = "Active"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
_DEPLOYMENT_CONDITIONS = ConditionSet(("Progressing", "ReplicaSetReady"))
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})


class RevisionPlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, revision: Revision, now: dt.datetime) -> None:
        self._revision = revision
        self._now = now
        self._fields = revision.status or RevisionStatus()
        self._marks = Marks(REVISION_CONDITIONS, self._fields.conditions, now)
        self.ready_before = is_true(self._fields.conditions, "Ready")

    @property
    def ready(self) -> bool:
        """Whether the Revision is Ready as marked so far."""
        return self._marks.is_true("Ready")

    def log_url(self, template: str) -> None:
        """Say where the logs are; the template's ``${REVISION_UID}`` is the uid."""
        url = template.replace("${REVISION_UID}", self._revision.metadata.uid)
        self._fields = msgspec.structs.replace(self._fields, log_url=url)

    def resolving(self) -> None:
        """The images are being resolved to digests."""
        self._marks.unknown(RESOURCES, "ResolvingDigests", "")

    def image_missing(self, message: str) -> None:
        """An image could not be resolved."""
        self._marks.false(CONTAINER, "ContainerMissing", message)

    def resolved(self, digests: dict[str, str]) -> Revision:
        """The images' digests by reference; the Revision as it is with them."""
        spec = self._revision.spec
        containers = spec.containers if spec else ()
        init_containers = spec.init_containers if spec else ()
        self._fields = msgspec.structs.replace(
            self._fields,
            container_statuses=tuple(
                ContainerStatus(name=item.name, image_digest=digests.get(item.image, ""))
                for item in containers
            ),
            init_container_statuses=tuple(
                ContainerStatus(name=item.name, image_digest=digests.get(item.image, ""))
                for item in init_containers
            ),
        )
        return msgspec.structs.replace(self._revision, status=self._fields)

    def not_owned(self, kind: str, name: str) -> None:
        """A child's name is taken by an object of someone else."""
        text = f'There is an existing {kind} "{name}" that we do not own.'
        self._marks.false(RESOURCES, "NotOwned", text)

    def deployment_created(self) -> None:
        """The Deployment was made just now."""
        self._marks.unknown(RESOURCES, "Deploying", "")
        self._marks.unknown(CONTAINER, "Deploying", "")

    def follow_deployment(
        self, deployment: Deployment, pods: Sequence[Pod], *, always_schedulable: bool
    ) -> None:
        """Take over what the Deployment and, while none is available, its first Pod report."""
        status = deployment.status or DeploymentStatus()
        self._marks.copy(RESOURCES, deployment_condition(status, self._now))
        wanted = deployment.spec.replicas if deployment.spec else None
        if (wanted is None or wanted > 0) and not status.available_replicas and pods:
            self._follow_pod(pods[0], always_schedulable, timed_out=has_timed_out(status))
        if status.ready_replicas:
            self._marks.true(CONTAINER)

    def _follow_pod(self, pod: Pod, always_schedulable: bool, *, timed_out: bool) -> None:  # noqa: FBT001 - a cluster setting
        if pod.status is None:
            return
        if not always_schedulable:
            for condition in pod.status.conditions:
                if condition.type == "PodScheduled" and condition.status == "False":
                    self._marks.false(RESOURCES, condition.reason, condition.message)
        for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            if self._follow_container(container, timed_out=timed_out):
                return

    def _follow_container(self, container: RunStatus, *, timed_out: bool) -> bool:
        ended = ended_state(container)
        if ended is not None:
            code = ended.exit_code or 0
            said = ended.message or ("container exited with no error" if code == 0 else "")
            self._marks.false(CONTAINER, f"ExitCode{code}", f"Container failed with: {said}")
            return True
        waiting = container.state.waiting if container.state else None
        if waiting is None or waiting.reason in _STARTING:
            return False
        if timed_out:
            self._marks.false(RESOURCES, waiting.reason, waiting.message)
        elif not self._marks.is_false(RESOURCES):
            self._marks.unknown(RESOURCES, waiting.reason, waiting.message)
        return True

    def follow_autoscaler(self, autoscaler: PodAutoscaler) -> None:
        """Take over what the PodAutoscaler reports."""
        status = autoscaler.status or PodAutoscalerStatus()
        self._fields = msgspec.structs.replace(
            self._fields,
            actual_replicas=_count(status.actual_scale),
            desired_replicas=_count(status.desired_scale),
        )
        failed = self._marks.is_false(RESOURCES) or self._marks.is_false(CONTAINER)
        ready = find_condition(status.conditions, "Ready")
        if ready is None:
            self._marks.unknown(ACTIVE, "Deploying", "")
            if not failed:
                self._marks.unknown(RESOURCES, "Deploying", "")
            return
        initialized = is_true(status.conditions, "ScaleTargetInitialized")
        if initialized and not failed:
            self._marks.true(RESOURCES)
            self._marks.true(CONTAINER)
        if self._marks.is_true(RESOURCES) and not (status.service_name and initialized):
            self._marks.unknown(RESOURCES, "Deploying", "")
        if ready.status == "False" and not initialized and not failed and status.service_name:
            self._marks.false(RESOURCES, DEADLINE_EXCEEDED, "Initial scale was never achieved")
        self._marks.copy(ACTIVE, ready)

    def reachability(self, deployment: Deployment | None) -> Reachability:
        """What the PodAutoscaler is told about routes; a failed start counts as unreachable."""
        failed = self._marks.is_false(RESOURCES) or self._marks.is_false(CONTAINER)
        if failed and deployment is not None and deployment.spec is not None:
            ready = deployment.status.ready_replicas if deployment.status else 0
            if (deployment.spec.replicas or 0) > 0 and not ready:
                return "Unreachable"
        match self._revision.metadata.label(labels.ROUTING_STATE):
            case "active":
                return "Reachable"
            case "reserve":
                return "Unreachable"
            case _:
                return ""

    def status(self) -> RevisionStatus:
        """The status to store."""
        return msgspec.structs.replace(
            self._fields,
            observed_generation=self._revision.metadata.generation,
            conditions=self._marks.finish(),
        )


def _count(scale: int | None) -> int | None:
    return scale if scale is not None and scale >= 0 else None


def ended_state(container: RunStatus) -> ContainerStateTerminated | None:
    """How a container that should run ended last, or None."""
    for state in (container.last_state, container.state):
        if state is not None and state.terminated is not None:
            return state.terminated
    return None


def has_timed_out(status: DeploymentStatus) -> bool:
    """Whether the Deployment gave up."""
    return any(
        item.type == "Progressing" and item.status == "False" and item.reason == DEADLINE_EXCEEDED
        for item in status.conditions
    )


def deployment_condition(status: DeploymentStatus, now: dt.datetime) -> Condition | None:
    """The Deployment's state as one condition (Knative ``TransformDeploymentStatus``)."""
    marks = Marks(_DEPLOYMENT_CONDITIONS, None, now)
    marks.true("ReplicaSetReady")
    marks.unknown("Progressing", "Deploying", "")
    for kind in ("Progressing", "ReplicaFailure"):
        for item in status.conditions:
            if item.type == kind:
                _follow(marks, kind, item.status, item.reason, item.message)
    return marks.get("Ready")


def _follow(marks: Marks, kind: str, status: str, reason: str, message: str) -> None:
    inverted = kind == "ReplicaFailure"
    target = "ReplicaSetReady" if inverted else kind
    if status == "Unknown":
        marks.unknown(target, reason, message)
    elif (status == "True") != inverted:
        marks.true(target)
    else:
        marks.false(target, reason, message)
