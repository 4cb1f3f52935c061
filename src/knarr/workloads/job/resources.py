"""The Pods of a Job."""

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.batch.jobspec import COMPLETION_INDEX, Job
from knarr.resources.core.container import Container, EnvVar, EnvVarSource
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.volume import ObjectFieldSelector
from knarr.workloads.job.tracking import TRACKING_FINALIZER

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_LONGEST_HOSTNAME = 63


def make_pod(job: Job, index: int | None = None) -> Pod:
    """A Pod of the template, tracked; the API server completes the name.

    Args:
        job: its Job.
        index: its number, of an Indexed Job.
    """
    template = (job.spec.template if job.spec else None) or PodTemplateSpec()
    metadata = template.metadata or ObjectMeta()
    pod = Pod(
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
    return pod if index is None else _numbered(pod, job.metadata.name, index)


def _numbered(pod: Pod, name: str, index: int) -> Pod:
    """The number goes into name, labels, annotations, hostname and environment."""
    metadata, spec = pod.metadata, pod.spec or PodSpec()
    number = {COMPLETION_INDEX: str(index)}
    return replace(
        pod,
        metadata=replace(
            metadata,
            generate_name=f"{name}-{index}-",
            labels={**(metadata.labels or {}), **number},
            annotations={**(metadata.annotations or {}), **number},
        ),
        spec=replace(
            spec,
            hostname=f"{name[: _LONGEST_HOSTNAME - len(str(index)) - 1]}-{index}",
            containers=tuple(_with_number(one) for one in spec.containers),
            init_containers=tuple(_with_number(one) for one in spec.init_containers),
        ),
    )


def _with_number(container: Container) -> Container:
    if any(variable.name == INDEX_VARIABLE for variable in container.env):
        return container
    field = ObjectFieldSelector(
        api_version="v1", field_path=f"metadata.annotations['{COMPLETION_INDEX}']"
    )
    variable = EnvVar(name=INDEX_VARIABLE, value_from=EnvVarSource(field_ref=field))
    return replace(container, env=(*container.env, variable))
