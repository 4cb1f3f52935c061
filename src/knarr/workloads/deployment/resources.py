"""The ReplicaSets of a Deployment: names, labels, contents."""

import hashlib

import msgspec

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.apps.deployment import Deployment
from knarr.resources.apps.replicaset import ReplicaSet, ReplicaSetSpec
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import LabelSelector

TEMPLATE_HASH_LABEL = "pod-template-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
_NOT_COPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration", REVISION_ANNOTATION})

_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_HASH_LENGTH = 10


def template_hash(template: PodTemplateSpec, collisions: int) -> str:
    """Ten characters that stand for a template; ``collisions`` gives another one for the same."""
    text = msgspec.json.encode(template, order="sorted") + f"#{collisions}".encode()
    digest = hashlib.blake2b(text, digest_size=_HASH_LENGTH).digest()
    return "".join(_HASH_ALPHABET[byte % len(_HASH_ALPHABET)] for byte in digest)


def same_template(deployment: Deployment, replica_set: ReplicaSet) -> bool:
    """Whether a ReplicaSet was made for the Deployment's template as it is now."""
    if deployment.spec is None or replica_set.spec is None or replica_set.spec.template is None:
        return False
    wanted = deployment.spec.template or PodTemplateSpec()
    return _without_hash(replica_set.spec.template) == _without_hash(wanted)


def _without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    metadata = template.metadata or ObjectMeta()
    labels = {
        name: value
        for name, value in (metadata.labels or {}).items()
        if name != TEMPLATE_HASH_LABEL
    }
    metadata = msgspec.structs.replace(metadata, labels=labels or None)
    return msgspec.structs.replace(
        template, metadata=metadata if metadata != ObjectMeta() else None
    )


def revision_of(replica_set: ReplicaSet) -> int:
    """The number of the rollout that made or last used a ReplicaSet; 0 when it does not say."""
    text = replica_set.metadata.annotation(REVISION_ANNOTATION)
    return int(text) if text.isdigit() else 0


def copied_annotations(deployment: Deployment) -> dict[str, str]:
    """What a Deployment's current ReplicaSet has of its annotations."""
    return {
        name: value
        for name, value in (deployment.metadata.annotations or {}).items()
        if name not in _NOT_COPIED
    }


def make_replica_set(deployment: Deployment, replicas: int, revision: int) -> ReplicaSet:
    """The ReplicaSet of the Deployment's template (``getNewReplicaSet``)."""
    spec = deployment.spec
    if spec is None or spec.template is None:
        raise ValueError(f"Deployment {deployment.key} has no template")
    collisions = (deployment.status.collision_count or 0) if deployment.status else 0
    unique = {TEMPLATE_HASH_LABEL: template_hash(spec.template, collisions)}
    template_meta = spec.template.metadata or ObjectMeta()
    labels = {**(template_meta.labels or {}), **unique}
    selector = spec.selector or LabelSelector()
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.metadata.name}-{unique[TEMPLATE_HASH_LABEL]}",
            namespace=deployment.metadata.namespace,
            labels=labels,
            annotations={**copied_annotations(deployment), REVISION_ANNOTATION: str(revision)},
            owner_references=(owner_reference(deployment),),
        ),
        spec=ReplicaSetSpec(
            replicas=replicas,
            min_ready_seconds=spec.min_ready_seconds,
            selector=LabelSelector(
                match_labels={**(selector.match_labels or {}), **unique},
                match_expressions=selector.match_expressions,
            ),
            template=msgspec.structs.replace(
                spec.template, metadata=msgspec.structs.replace(template_meta, labels=labels)
            ),
        ),
    )
