"""The model of a Job (``batch/v1``) and its defaults; the kind is in ``job``."""

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta, Resource, Struct
from knarr.resources.batch.failurepolicy import PodFailurePolicy
from knarr.resources.core.pod_defaults import default_template
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import Condition, LabelSelector
from knarr.resources.kind import Admission

CONTROLLER_UID_LABEL = "batch.kubernetes.io/controller-uid"
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of a Pod of an Indexed Job: its number."""
INDEXED = "Indexed"
LEGACY_CONTROLLER_UID_LABEL = "controller-uid"
LEGACY_JOB_NAME_LABEL = "job-name"


class JobSpec(Struct, frozen=True, kw_only=True):
    """How many Pods must succeed, how many run at once, and when to give up; times are seconds.

    ``completionMode`` is NonIndexed or Indexed: then Pods are numbered and each number must succeed once.
    ``podReplacementPolicy`` is TerminatingOrFailed or Failed.
    """

    parallelism: int | None = None
    completions: int | None = None
    active_deadline_seconds: int | None = None
    backoff_limit: int | None = None
    selector: LabelSelector | None = None
    manual_selector: bool | None = None
    template: PodTemplateSpec | None = None
    ttl_seconds_after_finished: int | None = None
    completion_mode: str | None = None
    suspend: bool | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    pod_replacement_policy: str | None = None


class UncountedPods(Struct, frozen=True, kw_only=True):
    """Uids of Pods that ended and are about to be counted."""

    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class JobStatus(Struct, frozen=True, kw_only=True):
    """Counts of Pods and how it ended."""

    conditions: tuple[Condition, ...] = ()
    start_time: str | None = None
    completion_time: str | None = None
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    completed_indexes: str = ""
    terminating: int | None = None
    uncounted_terminated_pods: UncountedPods | None = None
    ready: int | None = None


class Job(Resource, frozen=True, kw_only=True):
    """Runs Pods until enough of them have succeeded."""

    spec: JobSpec | None = None
    status: JobStatus | None = None


def generated_labels(metadata: ObjectMeta) -> dict[str, str]:
    """The labels that a Job's Pods get, by its name and uid."""
    return {
        CONTROLLER_UID_LABEL: metadata.uid,
        JOB_NAME_LABEL: metadata.name,
        LEGACY_CONTROLLER_UID_LABEL: metadata.uid,
        LEGACY_JOB_NAME_LABEL: metadata.name,
    }


def default_job(job: Job, admission: Admission) -> Job:
    """One completion, six retries."""
    if admission.subresource:
        return job
    spec = job.spec or JobSpec()
    both_open = spec.parallelism is None and spec.completions is None
    spec = replace(
        spec,
        completions=1 if both_open else spec.completions,
        parallelism=1 if spec.parallelism is None else spec.parallelism,
        backoff_limit=6 if spec.backoff_limit is None else spec.backoff_limit,
        template=default_template(spec.template),
        completion_mode=spec.completion_mode or "NonIndexed",
        suspend=bool(spec.suspend),
        manual_selector=bool(spec.manual_selector),
        pod_replacement_policy=spec.pod_replacement_policy
        or ("TerminatingOrFailed" if spec.pod_failure_policy is None else "Failed"),
    )
    return replace(job, metadata=_labelled(job.metadata, spec), spec=spec)


def prepare_job(job: Job, admission: Admission) -> Job:
    """A new Job has a selector of its own, and labels that lead from its Pods to it."""
    spec = job.spec or JobSpec()
    if admission.operation != "CREATE" or spec.manual_selector:
        return job
    metadata = job.metadata
    copied = metadata.labels == _labelled(replace(metadata, labels=None), spec).labels
    spec = _with_selector(metadata, spec)
    if copied:
        metadata = _labelled(replace(metadata, labels=None), spec)
    return replace(job, metadata=metadata, spec=spec)


def _labelled(metadata: ObjectMeta, spec: JobSpec) -> ObjectMeta:
    """Labels of the template where the Job has none."""
    template = spec.template.metadata if spec.template is not None else None
    if metadata.labels or template is None:
        return metadata
    return replace(metadata, labels=template.labels)


def _with_selector(owner: ObjectMeta, spec: JobSpec) -> JobSpec:
    template = spec.template or PodTemplateSpec()
    metadata = template.metadata or ObjectMeta()
    labels = generated_labels(owner) | dict(metadata.labels or {})
    selector = spec.selector or LabelSelector()
    chosen = {CONTROLLER_UID_LABEL: owner.uid} | dict(selector.match_labels or {})
    return replace(
        spec,
        selector=replace(selector, match_labels=chosen),
        template=replace(template, metadata=replace(metadata, labels=labels)),
    )
