"""What to say when nothing is wrong: replicas and why that many, traffic, URL; pure."""

from knarr.cli.explaining.pods import is_ready
from knarr.cli.explaining.revisions import INITIAL_SCALE, MIN_SCALE
from knarr.cli.explaining.world import (
    AUTOSCALERS,
    PODS,
    REVISION_LABEL,
    REVISIONS,
    Document,
    Explanation,
    Fix,
    Link,
    Verdict,
    World,
    annotation,
    condition,
    label,
)
from knarr.resources.columns import get, human_duration, items

_MAX_SCALE = "autoscaling.knative.dev/max-scale"
_SCALES = ("SuccessfulCreate", "SuccessfulDelete", "ScalingReplicaSet")
_LAST = 3


def route_is_well(
    world: World, route: Document, shown: str, chain: tuple[Link, ...]
) -> Explanation:
    """The explanation of a Service or Route that is Ready.

    Args:
        world: for Revisions, autoscalers, Pods and events.
        route: the document whose status has ``url`` and ``traffic``.
        shown: its kind and name, as the sentence begins.
        chain: of the explanation.
    """
    traffic = items(route, "status", "traffic")
    names = list(dict.fromkeys(str(get(one, "revisionName") or "") for one in traffic))
    replicas = sum(_ready_pods(world, name) for name in names)
    url = str(get(route, "status", "url") or "")
    verdict: Verdict = "ready" if replicas else "idle"
    text = f"All is well: {shown} is Ready"
    if replicas:
        text += f" with {replicas} replica{'s' if replicas > 1 else ''}."
    else:
        text += " and scaled to zero: nobody asks; the next request starts a replica."
    evidence = [f"URL: {url}"] if url else []
    evidence += [_share(one) for one in traffic]
    for name in names:
        evidence += revision_lines(world, name)
    fixes = (Fix(f"curl {url}", "send it a request"),) if url else ()
    return Explanation(verdict, _cause(verdict), text, tuple(evidence), fixes, chain)


def revision_is_well(world: World, name: str, chain: tuple[Link, ...]) -> Explanation:
    """The explanation of a Revision or Configuration that is Ready."""
    replicas = _ready_pods(world, name)
    verdict: Verdict = "ready" if replicas else "idle"
    text = f"All is well: revision {name} is Ready, with {replicas} replicas."
    return Explanation(
        verdict, _cause(verdict), text, tuple(revision_lines(world, name)), (), chain
    )


def _cause(verdict: Verdict) -> str:
    return "Ready" if verdict == "ready" else "ScaledToZero"


def _ready_pods(world: World, revision: str) -> int:
    return sum(is_ready(pod) for pod in world.every(PODS) if label(pod, REVISION_LABEL) == revision)


def _share(target: Document) -> str:
    latest = " (the latest)" if get(target, "latestRevision") else ""
    tag = f", tag {get(target, 'tag')} at {get(target, 'url')}" if get(target, "tag") else ""
    return f"traffic: {get(target, 'percent') or 0}% to {get(target, 'revisionName')}{latest}{tag}"


def revision_lines(world: World, name: str) -> list[str]:
    """How many replicas a Revision has, why, and when that last changed."""
    autoscaler = world.find(AUTOSCALERS, name)
    lines = []
    ready = _ready_pods(world, name)
    wanted = get(autoscaler, "status", "desiredScale")
    shown = "" if wanted is None or wanted < 0 else f" of {wanted} wanted"
    lines.append(f"{name}: {ready}{shown} replicas ready, {_why(world, name, autoscaler, ready)}")
    events = [
        event
        for event in world.events_of("ReplicaSet", f"{name}-deployment-", prefix=True)
        if get(event, "reason") in _SCALES
    ]
    lines += [
        f"{_ago(world, get(event, 'lastTimestamp'))}: {get(event, 'message')}"
        for event in events[-_LAST:]
    ]
    return lines


def _ago(world: World, moment: str | None) -> str:
    return f"{human_duration(world.age_s(moment))} ago" if moment else "some time ago"


def _why(world: World, name: str, autoscaler: Document | None, ready: int) -> str:
    revision = world.find(REVISIONS, name)
    least, most = annotation(revision, MIN_SCALE), annotation(revision, _MAX_SCALE)
    initial = annotation(revision, INITIAL_SCALE)
    bounds = f"min-scale {least or 0}, max-scale {most or 'without end'}"
    active = condition(autoscaler, "Active")
    if not ready and active.get("reason") == "NoTraffic":
        since = _ago(world, active.get("lastTransitionTime"))
        return f"scaled to zero {since} because no request came ({bounds})"
    if not ready and initial == "0":
        return f"it begins with none (initial-scale 0, {bounds})"
    if least.isdigit() and ready and ready <= int(least):
        return f"because min-scale is {least}"
    metric = annotation(autoscaler, "autoscaling.knative.dev/metric") or "concurrency"
    return f"by the autoscaler's {metric} ({bounds})"
