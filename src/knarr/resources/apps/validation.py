"""Rules that Deployments and ReplicaSets share."""

from knarr.meta.fielderrors import FieldError, at
from knarr.resources.core.pod_validation import template_errors
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import LabelSelector
from knarr.resources.core.references_validation import compile_selector, selector_errors
from knarr.resources.fielderrors import invalid


def replicas_errors(path: str, value: int | None) -> list[FieldError]:
    """A count that is not negative."""
    if value is None or value >= 0:
        return []
    return [invalid(path, value, "must be greater than or equal to 0")]


def workload_errors(
    selector: LabelSelector | None,
    template: PodTemplateSpec | None,
    *,
    volumes: frozenset[str] = frozenset(),
) -> list[FieldError]:
    """The selector, the template, and that one selects the other; paths are relative to the spec.

    ``volumes`` are those that each Pod has besides the template's.
    """
    errors = list(at("selector", selector_errors(selector)))
    labels = template.metadata.labels if template and template.metadata else None
    if selector is not None and not errors and not compile_selector(selector).matches(labels):
        detail = "`selector` does not match template `labels`"
        errors.append(invalid("template.metadata.labels", labels or {}, detail))
    errors += at("template", template_errors(template, volumes))
    return errors
