"""Traffic targets of a Service or Route."""

from collections.abc import Sequence

from msgspec.structs import replace

from knarr.meta.fielderrors import (
    FieldError,
    at,
    disallowed,
    invalid_key_name,
    invalid_value,
    missing_one_of,
    multiple_one_of,
    out_of_bounds,
)
from knarr.meta.names import dns1035_label_problems
from knarr.meta.objects import Struct
from knarr.meta.qualified import qualified_name_problems
from knarr.resources.serving.metadata import listed


class TrafficTarget(Struct, frozen=True, kw_only=True):
    """A share of the requests: ``percent`` (0 to 100) of all, or all of a ``tag``'s own host."""

    tag: str = ""
    revision_name: str = ""
    configuration_name: str = ""
    latest_revision: bool | None = None
    percent: int | None = None
    url: str = ""


def default_traffic(
    traffic: tuple[TrafficTarget, ...], *, of_service: bool
) -> tuple[TrafficTarget, ...]:
    """A Service without traffic sends all of it to its newest Revision; targets say what they follow."""
    if not traffic and of_service:
        return (TrafficTarget(percent=100, latest_revision=True),)
    return tuple(_default_target(target) for target in traffic)


def _default_target(target: TrafficTarget) -> TrafficTarget:
    latest, percent = target.latest_revision, target.percent
    return replace(
        target,
        latest_revision=not target.revision_name if latest is None else latest,
        percent=0 if percent is None else percent,
    )


def traffic_errors(traffic: Sequence[TrafficTarget], *, of_service: bool) -> list[FieldError]:
    """All targets of a spec; paths begin with ``traffic``."""
    errors: list[FieldError] = []
    tags: dict[str, int] = {}
    for index, target in enumerate(traffic):
        errors += at(f"traffic[{index}]", _target_errors(target, of_service=of_service))
        tag = target.tag
        if not tag:
            continue
        if problems := dns1035_label_problems(tag):
            # Knative puts the index behind the field here.
            text = f"not a DNS 1035 label: {listed(problems)}"
            errors.append(invalid_value(text, f"traffic.tag[{index}]"))
        if tag in tags:
            paths = (f"traffic[{index}].tag", f"traffic[{tags[tag]}].tag")
            errors.append(FieldError(message=f'Multiple definitions for "{tag}"', paths=paths))
        else:
            tags[tag] = index
    total = sum(target.percent or 0 for target in traffic)
    if total != 100:
        text = f"Traffic targets sum to {total}, want 100"
        errors.append(FieldError(message=text, paths=("traffic",)))
    return errors


def _target_errors(target: TrafficTarget, *, of_service: bool) -> list[FieldError]:
    errors = []
    latest = target.latest_revision
    if latest is not None and latest == bool(target.revision_name):
        shown = "true" if latest else "false"
        text = f'may not set revisionName "{target.revision_name}" when latestRevision is {shown}'
        errors.append(FieldError(message=text, paths=("latestRevision",)))
    errors += _reference_errors(target, of_service=of_service)
    if target.percent is not None and not 0 <= target.percent <= 100:
        errors.append(out_of_bounds(target.percent, 0, 100, "percent"))
    if target.url:
        errors.append(disallowed("url"))
    return errors


def _reference_errors(target: TrafficTarget, *, of_service: bool) -> list[FieldError]:
    revision, configuration = target.revision_name, target.configuration_name
    if of_service and configuration:
        return [disallowed("configurationName")]
    if revision and configuration:
        return [multiple_one_of("revisionName", "configurationName")]
    for path, name in (("revisionName", revision), ("configurationName", configuration)):
        if name:
            problems = qualified_name_problems(name)
            return [invalid_key_name(name, path, ", ".join(problems))] if problems else []
    return [] if of_service else [missing_one_of("revisionName", "configurationName")]
