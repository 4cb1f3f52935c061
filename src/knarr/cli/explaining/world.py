"""What ``explain`` reads: documents, events, log tails and probes, as one immutable value."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from knarr.kits.clock import parse_timestamp
from knarr.resources.columns import get, items

Document = Mapping[str, Any]
Verdict = Literal["fault", "waiting", "ready", "idle"]

SERVICES, CONFIGURATIONS, REVISIONS, ROUTES = (
    "services",
    "configurations",
    "revisions",
    "routes",
)
INGRESSES, DEPLOYMENTS, REPLICA_SETS, PODS = "ingresses", "deployments", "replicasets", "pods"
AUTOSCALERS, NODES, NAMESPACES, EVENTS = "podautoscalers", "nodes", "namespaces", "events"

REVISION_LABEL = "serving.knative.dev/revision"
SERVICE_LABEL = "serving.knative.dev/service"
USER_CONTAINER = "user-container"
_LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be explained; ``kind`` is a plural such as ``services``."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Probed:
    """One look at a running container that is not ready.

    Attributes:
        success: of its readiness probe, asked again just now.
        detail: what came back instead.
        listening: ports that accept connections, of those that were tried.
    """

    success: bool
    detail: str = ""
    listening: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """Everything that may have to do with the subject.

    Attributes:
        now: wall time of the reading.
        documents: by plural; ``services`` are Knative's.
        logs: last lines by ``POD/CONTAINER``.
        probes: by ``POD/CONTAINER``.
        processes: whether each of Knarr's processes answers; empty when unknown.
    """

    now: dt.datetime
    subject: Subject
    documents: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    probes: Mapping[str, Probed] = field(default_factory=dict)
    processes: Mapping[str, bool] = field(default_factory=dict)

    def every(self, kind: str) -> Sequence[Document]:
        """All documents of a kind."""
        return self.documents.get(kind, ())

    def find(self, kind: str, name: str, namespace: str | None = None) -> Document | None:
        """One document by name, in the subject's namespace unless another is named."""
        home = self.subject.namespace if namespace is None else namespace
        for item in self.every(kind):
            if name_of(item) == name and (get(item, "metadata", "namespace") or "") == home:
                return item
        return None

    def pods_of(self, revision: str) -> list[Document]:
        """A Revision's Pods that are to stay, oldest first."""
        found = [
            pod
            for pod in self.every(PODS)
            if label(pod, REVISION_LABEL) == revision
            and not get(pod, "metadata", "deletionTimestamp")
        ]
        return sorted(found, key=lambda pod: str(get(pod, "metadata", "creationTimestamp")))

    def events_of(self, kind: str, name: str, *, prefix: bool = False) -> list[Document]:
        """Events about an object, oldest first; with ``prefix`` about all whose name begins so."""
        found = [
            event
            for event in self.every(EVENTS)
            if get(event, "involvedObject", "kind") == kind
            and _matches(get(event, "involvedObject", "name") or "", name, prefix=prefix)
        ]
        return sorted(found, key=_moment)

    def log_of(self, pod: str, container: str) -> tuple[str, ...]:
        """The last lines that a container wrote."""
        return tuple(self.logs.get(f"{pod}/{container}", ()))[-_LOG_LINES:]

    def age_s(self, moment: str | None) -> float:
        """Seconds since an RFC 3339 time; 0 for none."""
        if not moment:
            return 0.0
        return (self.now - parse_timestamp(moment)).total_seconds()


def _matches(found: str, name: str, *, prefix: bool) -> bool:
    return found.startswith(name) if prefix else found == name


def _moment(event: Document) -> str:
    return str(
        get(event, "lastTimestamp")
        or get(event, "eventTime")
        or get(event, "metadata", "creationTimestamp")
        or ""
    )


@dataclass(frozen=True, slots=True)
class Fix:
    """A command and what it is good for."""

    command: str
    why: str


@dataclass(frozen=True, slots=True)
class Link:
    """One object of the chain; ``state`` is the status of its Ready condition, or a word."""

    kind: str
    name: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or on its way.

    Attributes:
        cause: one CamelCase word for programs, such as ``ImageNotFound``.
        text: the root cause in a sentence.
        waiting: nothing is wrong yet: it takes time.
        link: the object where it was found, when the chain does not have it by itself.
    """

    cause: str
    text: str
    evidence: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    waiting: bool = False
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer.

    Attributes:
        verdict: ``ready`` and ``idle`` (scaled to zero) mean that all is well.
        cause: one word for programs; ``Ready`` or ``ScaledToZero`` when all is well.
        root_cause: one or two sentences.
        evidence: what proves it, line by line.
        fixes: commands, the likeliest first.
        chain: from the subject down to where the cause is.
        also: further findings, in a sentence each.
    """

    verdict: Verdict
    cause: str
    root_cause: str
    evidence: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    chain: tuple[Link, ...] = ()
    also: tuple[str, ...] = ()


def name_of(document: Document) -> str:
    """``metadata.name``."""
    return str(get(document, "metadata", "name") or "")


def label(document: Document, key: str) -> str:
    """A label's value, or empty."""
    return str((get(document, "metadata", "labels") or {}).get(key, ""))


def annotation(document: Document | None, key: str) -> str:
    """An annotation's value, or empty."""
    return str((get(document, "metadata", "annotations") or {}).get(key, ""))


def condition(document: Document | None, kind: str) -> Document:
    """A condition of the status; an empty mapping for none."""
    for item in items(document, "status", "conditions"):
        if get(item, "type") == kind:
            return dict(item)
    return {}


def state_of(document: Document | None, kind: str = "Ready") -> str:
    """``True``, ``False`` or ``Unknown``; what is not there is Unknown."""
    return str(condition(document, kind).get("status") or "Unknown")


def said(document: Document | None, kind: str) -> str:
    """A condition as a line of evidence, or empty when it says nothing."""
    found = condition(document, kind)
    words = ": ".join(
        str(part).strip() for part in (found.get("reason"), found.get("message")) if part
    )
    return f"{kind} is {found['status']}: {words}" if words else ""


def link_of(kind: str, document: Document | None, name: str, ready: str = "Ready") -> Link:
    """The chain's entry of a document."""
    if document is None:
        return Link(kind, name, "missing")
    found = condition(document, ready)
    return Link(
        kind,
        name,
        str(found.get("status") or "Unknown"),
        "" if found.get("status") == "True" else str(found.get("reason") or ""),
    )


def owner_of(document: Document | None) -> str:
    """``Kind/name`` of the controller, or empty."""
    for reference in items(document, "metadata", "ownerReferences"):
        if get(reference, "controller"):
            return f"{get(reference, 'kind')}/{get(reference, 'name')}"
    return ""


def event_line(event: Document) -> str:
    """An event as a line of evidence."""
    count = get(event, "count") or 1
    times = f" (x{count})" if count > 1 else ""
    return f"event {get(event, 'reason')}{times}: {str(get(event, 'message')).strip()}"


def distinct_events(events: Sequence[Document], *reasons: str) -> Iterator[str]:
    """The newest event of each reason, as lines."""
    newest = {get(event, "reason"): event for event in events}
    for reason, event in newest.items():
        if reason in reasons:
            yield event_line(event)


def quoted(text: str) -> tuple[str, ...]:
    """What stands in double quotes in a message."""
    return tuple(re.findall(r'"([^"]+)"', text))
