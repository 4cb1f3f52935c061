"""What ``kubectl get pods`` shows (Kubernetes ``pkg/printers/internalversion``)."""

from typing import Any

from knarr.resources.columns import AGE, NONE, Document, get, items, since
from knarr.resources.kind import Column


def _terminated_reason(state: Any, *, signal: str, exit_code: str) -> str:
    ended = get(state, "terminated")
    if reason := get(ended, "reason"):
        return str(reason)
    if number := get(ended, "signal"):
        return f"{signal}{number}"
    return f"{exit_code}{get(ended, 'exitCode') or 0}"


def _condition_true(document: Document, kind: str) -> bool:
    return any(
        get(item, "type") == kind and get(item, "status") == "True"
        for item in items(document, "status", "conditions")
    )


def _init_reason(document: Document) -> str | None:
    """The status while init containers run, or None when all of them are done."""
    total = len(items(document, "spec", "initContainers"))
    for index, status in enumerate(items(document, "status", "initContainerStatuses")):
        state = get(status, "state")
        if get(state, "terminated") is not None:
            if get(state, "terminated", "exitCode"):
                reason = _terminated_reason(state, signal="Signal:", exit_code="ExitCode:")
                return f"Init:{reason}"
            continue
        waiting = get(state, "waiting", "reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return None


def _container_reason(document: Document, reason: str) -> str:
    running = False
    for status in reversed(items(document, "status", "containerStatuses")):
        state = get(status, "state")
        if get(state, "waiting", "reason"):
            reason = str(get(state, "waiting", "reason"))
        elif get(state, "terminated") is not None:
            reason = _terminated_reason(state, signal="Signal:", exit_code="ExitCode:")
        elif get(status, "ready") and get(state, "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if _condition_true(document, "Ready") else "NotReady"
    return reason


def pod_status(document: Document) -> str:
    """One word for the state of a Pod: its phase, or what keeps it from running."""
    phase = get(document, "status", "phase") or ""
    reason = get(document, "status", "reason") or phase
    initializing = _init_reason(document)
    if initializing is not None and not _condition_true(document, "Initialized"):
        reason = initializing
    else:
        reason = _container_reason(document, reason)
    if get(document, "metadata", "deletionTimestamp"):
        if get(document, "status", "reason") == "NodeLost":
            return "Unknown"
        if phase not in {"Succeeded", "Failed"}:
            return "Terminating"
    return str(reason)


def _status_cell(document: Document, _: float) -> object:
    return pod_status(document)


def _ready_cell(document: Document, _: float) -> object:
    ready = sum(
        1
        for status in items(document, "status", "containerStatuses")
        if get(status, "ready") and get(status, "state", "running") is not None
    )
    return f"{ready}/{len(items(document, 'spec', 'containers'))}"


def _restarts_cell(document: Document, now: float) -> object:
    initializing = _init_reason(document) is not None
    name = "initContainerStatuses" if initializing else "containerStatuses"
    statuses = items(document, "status", name)
    restarts = sum(get(status, "restartCount") or 0 for status in statuses)
    ends = [get(status, "lastState", "terminated", "finishedAt") or "" for status in statuses]
    last = max(ends, default="")
    return f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts)


def _gates_cell(_document: Document, _: float) -> object:
    return NONE


POD_COLUMNS = (
    Column("Ready", "string", _ready_cell),
    Column("Status", "string", _status_cell),
    Column("Restarts", "string", _restarts_cell),
    AGE,
    Column("IP", "string", lambda doc, _: get(doc, "status", "podIP") or NONE, priority=1),
    Column("Node", "string", lambda doc, _: get(doc, "spec", "nodeName") or NONE, priority=1),
    Column(
        "Nominated Node",
        "string",
        lambda doc, _: get(doc, "status", "nominatedNodeName") or NONE,
        priority=1,
    ),
    Column("Readiness Gates", "string", _gates_cell, priority=1),
)
