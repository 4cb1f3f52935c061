"""Why the volumes of a Pod keep it from being placed; pure. The texts are kube-scheduler's."""

from collections.abc import Callable, Iterable, Mapping

from knarr.resources.core.node import Node
from knarr.resources.core.persistentvolume import (
    NodeSelectorRequirement,
    PersistentVolume,
    VolumeNodeAffinity,
)
from knarr.resources.core.persistentvolumeclaim import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
)
from knarr.resources.core.pod import Pod
from knarr.resources.storage.storageclass import ON_FIRST_USE, StorageClass
from knarr.workloads import pods as pods_of
from knarr.workloads.volumes.plan import claims_of

_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
_ALONE = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)


def claim_obstacle(
    pod: Pod,
    claim_named: Callable[[str], PersistentVolumeClaim | None],
    class_named: Callable[[str], StorageClass | None],
    users_of: Callable[[str], Iterable[Pod]],
) -> str:
    """Why no node can run a Pod; empty when its claims are no obstacle.

    Args:
        pod: not bound to a node.
        claim_named: a claim of the Pod's namespace.
        class_named: a StorageClass.
        users_of: the Pods that mount a claim of this name, the Pod itself included.
    """
    for name in sorted(claims_of(pod)):
        claim = claim_named(name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim.deleting:
            return f'persistentvolumeclaim "{name}" is being deleted'
        spec = claim.spec or PersistentVolumeClaimSpec()
        phase = claim.status.phase if claim.status else ""
        if phase == "Lost":
            text = f'bound to non-existent persistentvolume "{spec.volume_name}"'
            return f'persistentvolumeclaim "{name}" {text}'
        chosen = class_named(spec.storage_class_name or "")
        late = chosen is not None and chosen.volume_binding_mode == ON_FIRST_USE
        if phase != "Bound" and not late:
            return _UNBOUND
        if "ReadWriteOncePod" in spec.access_modes and _others(pod, users_of(name)):
            return _ALONE
    return ""


def _others(pod: Pod, users: Iterable[Pod]) -> bool:
    return any(
        user.key != pod.key and pods_of.node_of(user) and not pods_of.is_finished(user)
        for user in users
    )


def reaches(node: Node, volume: PersistentVolume) -> bool:
    """Whether a volume can be used on a node."""
    affinity = volume.spec.node_affinity if volume.spec else None
    if affinity is None:
        return True
    return matches_affinity(affinity, node.metadata.labels or {})


def matches_affinity(affinity: VolumeNodeAffinity, labels: Mapping[str, str]) -> bool:
    """Whether one of the terms holds for a node's labels."""
    terms = affinity.required.node_selector_terms if affinity.required else ()
    return any(all(_holds(item, labels) for item in term.match_expressions) for term in terms)


def _holds(requirement: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False
