"""A Pod as its workers share it: the object, its sandbox, what is known of each container."""

from collections.abc import Callable
from dataclasses import dataclass, field

from knarr.node.podfacts import PodFacts
from knarr.node.podstatus import ContainerView
from knarr.node.sandbox import Sandbox
from knarr.node.services import REVISION_LABEL, Services
from knarr.resources.core.container import Container
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.tokenvolume import canonical_spec


@dataclass(slots=True)
class PodContext:
    """Shared by the workers of one Pod.

    Attributes:
        pod: as last seen; its spec does not change.
        views: what is known of each container, by name.
        changed: call after anything that the status shows has changed.
    """

    services: Services
    pod: Pod
    changed: Callable[[], None]
    sandbox: Sandbox | None = None
    initialized: bool = False
    views: dict[str, ContainerView] = field(default_factory=dict)

    @property
    def spec(self) -> PodSpec:
        """The Pod's spec; an absent one has no containers.

        The volume of the account has the name that it has in every sandbox of the Pod's template.
        """
        return canonical_spec(self.pod.spec or PodSpec())

    @property
    def revision(self) -> str:
        """``namespace/name`` of the Knative revision, or empty."""
        name = self.pod.metadata.label(REVISION_LABEL)
        return f"{self.pod.metadata.namespace}/{name}" if name else ""

    def view(self, container: Container) -> ContainerView:
        """What is known of a container."""
        return self.views.setdefault(container.name, ContainerView(container.name, container.image))

    def facts(self) -> PodFacts:
        """What containers may ask about the Pod."""
        return pod_facts(self.pod, self.services, self.sandbox)


def pod_facts(pod: Pod, services: Services, sandbox: Sandbox | None) -> PodFacts:
    """The facts of a Pod, real or planned."""
    metadata = pod.metadata
    return PodFacts(
        namespace=metadata.namespace,
        name=metadata.name,
        spec=canonical_spec(pod.spec or PodSpec()),
        uid=metadata.uid,
        labels=metadata.labels or {},
        annotations=metadata.annotations or {},
        node_name=services.node_name,
        host_ip=services.machine.host_ip,
        pod_ip=sandbox.address if sandbox else "",
        capacity=services.machine_capacity,
    )
