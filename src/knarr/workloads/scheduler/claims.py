"""What the scheduler must know of the claims that Pods mount."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from knarr.kube.cache import Change
from knarr.kube.informer import Informer
from knarr.meta.objects import Key
from knarr.resources.core.node import Node
from knarr.resources.core.persistentvolume import PersistentVolume
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.resources.core.pod import Pod
from knarr.resources.storage.storageclass import StorageClass
from knarr.workloads.volumes.obstacles import claim_obstacle, reaches
from knarr.workloads.volumes.plan import claims_of

NODE_CONFLICT = "node(s) had volume node affinity conflict"


@dataclass(frozen=True, slots=True)
class ClaimsOfPods:
    """Reads claims, volumes and classes from informers."""

    claims: Informer[PersistentVolumeClaim]
    volumes: Informer[PersistentVolume]
    classes: Informer[StorageClass]

    def watch(self, retry: Callable[[Key], None]) -> None:
        """Call ``retry`` with the key of each claim that changed."""

        def changed(change: Change[PersistentVolumeClaim]) -> None:
            retry(change.key)

        self.claims.add_handler(changed)

    def obstacle(self, pod: Pod, users_of: Callable[[str], Iterable[Pod]]) -> str:
        """Why no node can run a Pod; empty when its claims are no obstacle."""
        namespace = pod.metadata.namespace
        return claim_obstacle(
            pod,
            lambda name: self.claims.get(Key(namespace, name)),
            lambda name: self.classes.get(Key("", name)),
            users_of,
        )

    def node_obstacle(self, pod: Pod, node: Node) -> str:
        """Why this node cannot run a Pod; empty when its volumes can be reached from there."""
        for name in claims_of(pod):
            claim = self.claims.get(Key(pod.metadata.namespace, name))
            bound_to = claim.spec.volume_name if claim is not None and claim.spec else ""
            volume = self.volumes.get(Key("", bound_to)) if bound_to else None
            if volume is not None and not reaches(node, volume):
                return NODE_CONFLICT
        return ""
