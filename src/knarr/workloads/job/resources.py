"""The Pods of a Job."""

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.batch.jobspec import Job
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.workloads.job.tracking import TRACKING_FINALIZER


def make_pod(job: Job) -> Pod:
    """A Pod of the template, tracked; the API server completes the name."""
    template = (job.spec.template if job.spec else None) or PodTemplateSpec()
    metadata = template.metadata or ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            generate_name=f"{job.metadata.name}-",
            namespace=job.metadata.namespace,
            labels=metadata.labels,
            annotations=metadata.annotations,
            finalizers=(*(metadata.finalizers or ()), TRACKING_FINALIZER),
            owner_references=(owner_reference(job),),
        ),
        spec=template.spec,
    )
