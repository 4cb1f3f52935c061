"""What ``kubectl get jobs`` shows (Kubernetes ``pkg/printers/internalversion``)."""

from knarr.kits.clock import parse_timestamp
from knarr.resources.columns import (
    AGE,
    Document,
    containers_cell,
    format_selector,
    get,
    human_duration,
    images_cell,
    items,
    since,
)
from knarr.resources.kind import Column

_BEFORE_DELETION = ("Complete", "Failed")
_AFTER_DELETION = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _status(document: Document, _: float) -> object:
    true = {
        get(item, "type")
        for item in items(document, "status", "conditions")
        if get(item, "status") == "True"
    }
    for kind in _BEFORE_DELETION:
        if kind in true:
            return kind
    if get(document, "metadata", "deletionTimestamp"):
        return "Terminating"
    return next((kind for kind in _AFTER_DELETION if kind in true), "Running")


def _completions(document: Document, _: float) -> object:
    succeeded = get(document, "status", "succeeded") or 0
    wanted = get(document, "spec", "completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallelism = get(document, "spec", "parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(document: Document, now: float) -> object:
    start = get(document, "status", "startTime")
    end = get(document, "status", "completionTime")
    if not isinstance(start, str):
        return ""
    if not isinstance(end, str):
        return since(start, now)
    try:
        took = parse_timestamp(end) - parse_timestamp(start)
    except ValueError:
        return since(None, now)
    return human_duration(took.total_seconds())


_CONTAINERS = ("spec", "template", "spec", "containers")

JOB_COLUMNS = (
    Column("Status", "string", _status),
    Column("Completions", "string", _completions),
    Column("Duration", "string", _duration),
    AGE,
    Column("Containers", "string", containers_cell(*_CONTAINERS), priority=1),
    Column("Images", "string", images_cell(*_CONTAINERS), priority=1),
    Column(
        "Selector",
        "string",
        lambda doc, _: format_selector(get(doc, "spec", "selector")),
        priority=1,
    ),
)
