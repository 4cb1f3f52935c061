"""Job (``batch/v1``)."""

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import ObjectMeta
from knarr.resources.batch.failurepolicy import failure_policy_errors
from knarr.resources.batch.job_columns import JOB_COLUMNS
from knarr.resources.batch.jobspec import (
    CONTROLLER_UID_LABEL,
    INDEXED,
    Job,
    JobSpec,
    default_job,
    generated_labels,
    prepare_job,
)
from knarr.resources.columns import get
from knarr.resources.core.pod_validation import any_template_errors
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.references import LabelSelector
from knarr.resources.core.references_validation import compile_selector, selector_errors
from knarr.resources.fielderrors import IMMUTABLE, invalid, not_supported, required
from knarr.resources.kind import Admission, Kind
from knarr.resources.metadata import metadata_errors

_REPLACEMENT_POLICIES = ("Failed", "TerminatingOrFailed")
_MOST_INDEXES = 100_000
_NOT_GENERATED = "`selector` not auto-generated"


def job_spec_errors(spec: JobSpec) -> list[FieldError]:
    """Rules for a Job and for the Jobs of a CronJob, selector excepted; paths are relative to the spec."""
    numbers = {
        "parallelism": spec.parallelism,
        "completions": spec.completions,
        "activeDeadlineSeconds": spec.active_deadline_seconds,
        "backoffLimit": spec.backoff_limit,
        "ttlSecondsAfterFinished": spec.ttl_seconds_after_finished,
    }
    errors = [
        invalid(name, value, "must be greater than or equal to 0")
        for name, value in numbers.items()
        if value is not None and value < 0
    ]
    errors += _mode_errors(spec)
    errors += _failure_errors(spec)
    if spec.pod_replacement_policy not in {None, "", *_REPLACEMENT_POLICIES}:
        errors.append(
            not_supported(
                "podReplacementPolicy", spec.pod_replacement_policy, _REPLACEMENT_POLICIES
            )
        )
    errors += at("template", any_template_errors(spec.template))
    policy = spec.template.spec.restart_policy if spec.template and spec.template.spec else ""
    if policy not in {"Never", "OnFailure"}:
        text = 'valid values: "OnFailure", "Never"'
        errors.append(required("template.spec.restartPolicy", text))
    return errors


def _mode_errors(spec: JobSpec) -> list[FieldError]:
    if spec.completion_mode not in {None, "", INDEXED, "NonIndexed"}:
        modes = (INDEXED, "NonIndexed")
        return [not_supported("completionMode", spec.completion_mode, modes)]
    if spec.completion_mode != INDEXED:
        return []
    errors = []
    if spec.completions is None:
        text = f"when completion mode is {INDEXED}"
        errors.append(required("completions", text))
    bound = f"must be less than or equal to {_MOST_INDEXES} when completion mode is {INDEXED}"
    for name, value in (("parallelism", spec.parallelism), ("completions", spec.completions)):
        if value is not None and value > _MOST_INDEXES:
            errors.append(invalid(name, value, bound))
    return errors


def _failure_errors(spec: JobSpec) -> list[FieldError]:
    policy = spec.pod_failure_policy
    if policy is None:
        return []
    template = (spec.template.spec if spec.template else None) or PodSpec()
    names = frozenset(one.name for one in (*template.containers, *template.init_containers))
    errors = list(at("podFailurePolicy", failure_policy_errors(policy, names)))
    if template.restart_policy != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(invalid("template.spec.restartPolicy", template.restart_policy, text))
    if spec.pod_replacement_policy not in {None, "", "Failed"}:
        policies = ("Failed",)
        errors.append(not_supported("podReplacementPolicy", spec.pod_replacement_policy, policies))
    return errors


def _selector_errors(job: Job, spec: JobSpec, *, new: bool) -> list[FieldError]:
    errors = list(at("selector", selector_errors(spec.selector)))
    labels = (
        spec.template.metadata.labels if spec.template and spec.template.metadata else None
    ) or {}
    if new and not spec.manual_selector:
        for name, value in generated_labels(job.metadata).items():
            if labels.get(name) != value:
                text = f"must be '{value}'"
                errors.append(invalid("template.metadata.labels", dict(labels), text))
        generated = LabelSelector(match_labels={CONTROLLER_UID_LABEL: job.metadata.uid})
        if spec.selector != generated:
            errors.append(invalid("selector", spec.selector, _NOT_GENERATED))
    elif spec.selector and not errors and not compile_selector(spec.selector).matches(labels):
        text = "`selector` does not match template `labels`"
        errors.append(invalid("template.metadata.labels", dict(labels), text))
    return errors


def _template_part(template: PodTemplateSpec | None, source: PodTemplateSpec | None) -> object:
    """A template with what may change before the first start taken from ``source``."""
    template, source = template or PodTemplateSpec(), source or PodTemplateSpec()
    metadata, given = template.metadata or ObjectMeta(), source.metadata or ObjectMeta()
    spec, given_spec = template.spec or PodSpec(), source.spec or PodSpec()
    return replace(
        template,
        metadata=replace(metadata, labels=given.labels, annotations=given.annotations),
        spec=replace(
            spec, node_selector=given_spec.node_selector, tolerations=given_spec.tolerations
        ),
    )


def _update_errors(old: Job, spec: JobSpec) -> list[FieldError]:
    before = old.spec or JobSpec()
    fixed = {
        "completions": (before.completions, spec.completions),
        "completionMode": (before.completion_mode, spec.completion_mode),
        "selector": (before.selector, spec.selector),
        "podFailurePolicy": (before.pod_failure_policy, spec.pod_failure_policy),
    }
    errors = [invalid(name, new, IMMUTABLE) for name, (was, new) in fixed.items() if was != new]
    started = old.status is not None and old.status.start_time is not None
    if before.suspend and not started:
        changed = _template_part(before.template, spec.template) != _template_part(
            spec.template, spec.template
        )
    else:
        changed = before.template != spec.template
    if changed:
        errors.append(invalid("template", spec.template, IMMUTABLE))
    return errors


def validate_job(job: Job, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; once it was made, a Job's template and completions stay."""
    if admission.subresource:
        return ()
    spec = job.spec or JobSpec()
    old = admission.old
    errors = job_spec_errors(spec)
    errors += _selector_errors(job, spec, new=not isinstance(old, Job))
    if isinstance(old, Job):
        errors += _update_errors(old, spec)
    return (*metadata_errors(job.metadata), *at("spec", errors))


JOB: Kind[Job] = Kind(
    group="batch",
    version="v1",
    kind="Job",
    plural="jobs",
    singular="job",
    categories=("all",),
    builtin=True,
    model=Job,
    age=False,
    columns=JOB_COLUMNS,
    default=default_job,
    prepare=prepare_job,
    validate=validate_job,
    selectable={"status.successful": lambda doc: str(get(doc, "status", "succeeded") or 0)},
)
