"""Computes a Revision's status from its digests, Deployment, Pods and PodAutoscaler; pure.

Rules of Knative ``pkg/reconciler/revision``. One addition of ours: why a container waits (an image that
cannot be pulled, a volume that is not there) is told at once as Unknown, not only after the progress
deadline.
"""

import datetime as dt
from collections.abc import Sequence

from msgspec.structs import replace

from knarr.meta.conditions import is_false, is_true
from knarr.resources.apps.deployment import Deployment, DeploymentStatus
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler, PodAutoscalerStatus
from knarr.resources.core.container import ContainerStateTerminated
from knarr.resources.core.container import ContainerStatus as RunStatus
from knarr.resources.core.pod import Pod
from knarr.resources.serving import revision_conditions as conditions
from knarr.resources.serving.revision import ContainerStatus, Revision, RevisionStatus
from knarr.serving import labels
from knarr.serving.autoscaler.policy import Reachability
from knarr.serving.marks import finish_status

_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})


class RevisionPlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, revision: Revision, now: dt.datetime) -> None:
        self._revision = revision
        self._now = now
        before = revision.status or RevisionStatus()
        self.ready_before = is_true(before.conditions, "Ready")
        self._status = conditions.initialize(before, now)

    @property
    def ready(self) -> bool:
        """Whether the Revision is Ready as marked so far."""
        return is_true(self._status.conditions, "Ready")

    @property
    def _failed(self) -> bool:
        found = self._status.conditions
        return is_false(found, conditions.RESOURCES_AVAILABLE) or is_false(
            found, conditions.CONTAINER_HEALTHY
        )

    def log_url(self, template: str) -> None:
        """Say where the logs are; the template's ``${REVISION_UID}`` is the uid."""
        url = template.replace("${REVISION_UID}", self._revision.metadata.uid)
        self._status = replace(self._status, log_url=url)

    def resolving(self) -> None:
        """The images are being resolved to digests."""
        self._status = conditions.mark_resources_available_unknown(
            self._status, conditions.RESOLVING_DIGESTS, "", self._now
        )

    def image_missing(self, image: str, cause: str) -> None:
        """An image could not be resolved."""
        text = conditions.container_missing_message(
            image, f"failed to resolve image to digest: {cause}"
        )
        self._status = conditions.mark_container_healthy_false(
            self._status, conditions.CONTAINER_MISSING, text, self._now
        )

    def resolved(self, digests: dict[str, str]) -> Revision:
        """The images' digests by reference; the Revision as it is with them."""
        spec = self._revision.spec
        containers = spec.containers if spec else ()
        init_containers = spec.init_containers if spec else ()
        self._status = replace(
            self._status,
            container_statuses=tuple(
                ContainerStatus(name=item.name, image_digest=digests.get(item.image, ""))
                for item in containers
            ),
            init_container_statuses=tuple(
                ContainerStatus(name=item.name, image_digest=digests.get(item.image, ""))
                for item in init_containers
            ),
        )
        return replace(self._revision, status=self._status)

    def not_owned(self, kind: str, name: str) -> None:
        """A child's name is taken by an object of someone else."""
        self._status = conditions.mark_not_owned(self._status, kind, name, self._now)

    def deployment_created(self) -> None:
        """The Deployment was made just now."""
        status = conditions.mark_resources_available_unknown(
            self._status, conditions.DEPLOYING, "", self._now
        )
        self._status = conditions.mark_container_healthy_unknown(
            status, conditions.DEPLOYING, "", self._now
        )

    def follow_deployment(
        self, deployment: Deployment, pods: Sequence[Pod], *, always_schedulable: bool
    ) -> None:
        """Take over what the Deployment and, while none is available, its first Pod report."""
        source = deployment.status or DeploymentStatus()
        self._status = conditions.propagate_deployment(self._status, source, self._now)
        wanted = deployment.spec.replicas if deployment.spec else None
        if (wanted is None or wanted > 0) and not source.available_replicas and pods:
            if not always_schedulable:
                self._follow_placement(pods[0])
            self._follow_containers(pods[0], timed_out=has_timed_out(source))
        if source.ready_replicas:
            self._status = conditions.mark_container_healthy_true(self._status, self._now)

    def _follow_placement(self, pod: Pod) -> None:
        for condition in pod.status.conditions if pod.status else ():
            if condition.type == "PodScheduled" and condition.status == "False":
                self._status = conditions.mark_resources_available_false(
                    self._status, condition.reason, condition.message, self._now
                )

    def _follow_containers(self, pod: Pod, *, timed_out: bool) -> None:
        if pod.status is None:
            return
        for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            ended = ended_state(container)
            waiting = container.state.waiting if container.state else None
            if ended is not None:
                self._follow_exit(ended)
                return
            if waiting is not None and waiting.reason not in _STARTING:
                self._follow_wait(waiting.reason, waiting.message, timed_out=timed_out)
                return

    def _follow_exit(self, ended: ContainerStateTerminated) -> None:
        code = ended.exit_code or 0
        said = ended.message or ("container exited with no error" if code == 0 else "")
        self._status = conditions.mark_container_healthy_false(
            self._status,
            conditions.exit_code_reason(code),
            conditions.container_exiting_message(said),
            self._now,
        )

    def _follow_wait(self, reason: str, message: str, *, timed_out: bool) -> None:
        if timed_out:
            self._status = conditions.mark_resources_available_false(
                self._status, reason, message, self._now
            )
        elif not is_false(self._status.conditions, conditions.RESOURCES_AVAILABLE):
            self._status = conditions.mark_resources_available_unknown(
                self._status, reason, message, self._now
            )

    def follow_autoscaler(self, autoscaler: PodAutoscaler) -> None:
        """Take over what the PodAutoscaler reports."""
        source = autoscaler.status or PodAutoscalerStatus()
        self._status = conditions.propagate_autoscaler(self._status, source, self._now)

    def reachability(self, deployment: Deployment | None) -> Reachability:
        """What the PodAutoscaler is told about routes; a failed start counts as unreachable."""
        if self._failed and deployment is not None and deployment.spec is not None:
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
        meta = self._revision.metadata
        return finish_status(self._revision.status, self._status, meta.generation)


def ended_state(container: RunStatus) -> ContainerStateTerminated | None:
    """How a container that should run ended last, or None."""
    for state in (container.last_state, container.state):
        if state is not None and state.terminated is not None:
            return state.terminated
    return None


def has_timed_out(status: DeploymentStatus) -> bool:
    """Whether the Deployment gave up."""
    gave_up = ("Progressing", "False", conditions.PROGRESS_DEADLINE_EXCEEDED)
    return any((item.type, item.status, item.reason) == gave_up for item in status.conditions)
