"""The Pods of a ReplicaSet."""

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodTemplateSpec


def make_pod(replica_set: ReplicaSet) -> Pod:
    """A Pod of the template; the API server completes the name."""
    template = replica_set.spec.template if replica_set.spec else None
    template = template or PodTemplateSpec()
    metadata = template.metadata or ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            generate_name=f"{replica_set.metadata.name}-",
            namespace=replica_set.metadata.namespace,
            labels=metadata.labels,
            annotations=metadata.annotations,
            finalizers=metadata.finalizers,
            owner_references=(owner_reference(replica_set),),
        ),
        spec=template.spec,
    )
