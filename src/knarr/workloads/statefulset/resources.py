"""The Pods and claims of a StatefulSet; pure."""

import re

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.apps.statefulset import StatefulSet, StatefulSetSpec
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.volume import PersistentVolumeClaimVolumeSource, Volume
from knarr.workloads.revisions import HASH_LABEL

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_NUMBERED = re.compile(r"(.*)-(0|[1-9][0-9]*)")


def ordinal_of(owner: StatefulSet, pod: Pod) -> int | None:
    """The number of a Pod; None for one whose name is not ours."""
    found = _NUMBERED.fullmatch(pod.metadata.name)
    if found is None or found[1] != owner.metadata.name:
        return None
    return int(found[2])


def claim_name(template: PersistentVolumeClaim, owner: StatefulSet, ordinal: int) -> str:
    """The name of one Pod's claim."""
    return f"{template.metadata.name}-{owner.metadata.name}-{ordinal}"


def make_claims(owner: StatefulSet, ordinal: int) -> tuple[PersistentVolumeClaim, ...]:
    """The claims of one Pod; they outlive it and its StatefulSet."""
    spec = owner.spec or StatefulSetSpec()
    selected = (spec.selector.match_labels if spec.selector else None) or {}
    return tuple(
        replace(
            template,
            metadata=ObjectMeta(
                name=claim_name(template, owner, ordinal),
                namespace=owner.metadata.namespace,
                labels={**(template.metadata.labels or {}), **selected},
                annotations=template.metadata.annotations,
            ),
            status=None,
        )
        for template in spec.volume_claim_templates
    )


def make_pod(owner: StatefulSet, template: PodTemplateSpec, revision: str, ordinal: int) -> Pod:
    """One Pod.

    Args:
        owner: its StatefulSet.
        template: of the revision.
        revision: the revision's hash.
        ordinal: the Pod's number.
    """
    spec = owner.spec or StatefulSetSpec()
    name = f"{owner.metadata.name}-{ordinal}"
    metadata = template.metadata or ObjectMeta()
    pod_spec = template.spec or PodSpec()
    own = {
        claim.metadata.name: Volume(
            name=claim.metadata.name,
            persistent_volume_claim=PersistentVolumeClaimVolumeSource(
                claim_name=claim_name(claim, owner, ordinal)
            ),
        )
        for claim in spec.volume_claim_templates
    }
    others = tuple(volume for volume in pod_spec.volumes if volume.name not in own)
    identity = {HASH_LABEL: revision, POD_NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=owner.metadata.namespace,
            labels={**(metadata.labels or {}), **identity},
            annotations=metadata.annotations,
            finalizers=metadata.finalizers,
            owner_references=(owner_reference(owner),),
        ),
        spec=replace(
            pod_spec,
            hostname=name,
            subdomain=spec.service_name,
            volumes=(*own.values(), *others),
        ),
    )
