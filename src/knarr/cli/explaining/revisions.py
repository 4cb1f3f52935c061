"""What is wrong with a Revision or a Configuration, down to a container; pure."""

import re
from collections.abc import Sequence
from dataclasses import replace

from knarr.cli.explaining.exits import exit_of_revision, start_finding
from knarr.cli.explaining.images import image_finding
from knarr.cli.explaining.place import Place
from knarr.cli.explaining.pods import config_finding, is_ready, place_of, pod_finding
from knarr.cli.explaining.scheduling import placement_finding, refused_pod_finding
from knarr.cli.explaining.world import (
    CONFIGURATIONS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    REVISION_LABEL,
    REVISIONS,
    SERVICE_LABEL,
    Document,
    Finding,
    Fix,
    Link,
    World,
    annotation,
    condition,
    distinct_events,
    event_line,
    label,
    link_of,
    name_of,
    owner_of,
    quoted,
    said,
    state_of,
)
from knarr.resources.columns import get, items

INITIAL_SCALE, MIN_SCALE = (
    "autoscaling.knative.dev/initial-scale",
    "autoscaling.knative.dev/min-scale",
)
_PORT = 8080
_PULL = re.compile(r'Failed to pull image "([^"]+)": (.*)$', re.DOTALL)


def revision_finding(world: World, name: str) -> Finding | None:
    """The deepest thing that keeps a Revision from serving; None when it can."""
    revision = world.find(REVISIONS, name)
    if revision is None:
        return Finding("RevisionMissing", f'Revision "{name}" does not exist.')
    place = Place(world.subject.namespace, label(revision, SERVICE_LABEL), name)
    pods = world.pods_of(name)
    if state_of(revision) == "True":
        return None if any(is_ready(pod) for pod in pods) else _first(world, pods, faults=True)
    found = _from_conditions(place, revision) or _first(world, pods, faults=True)
    if found is None:
        found = _from_deployment(world, place, name)
    if found is None:
        found = _past(world, place, revision)
    if found is None:
        found = _scaling(place, revision, pods) or _first(world, pods, faults=False)
    return _proved(found or _being_made(place, revision), revision)


def _proved(found: Finding, revision: Document) -> Finding:
    """With the Revision's own words, unless the evidence has them."""
    for kind in ("ContainerHealthy", "ResourcesAvailable"):
        line = said(revision, kind) if state_of(revision, kind) == "False" else ""
        message = str(condition(revision, kind).get("message")).strip()
        known = any(one.strip() in message or message in one for one in found.evidence)
        if line and not known and not found.waiting:
            return replace(found, evidence=(f"revision: {line}", *found.evidence))
    return found


def _from_conditions(place: Place, revision: Document) -> Finding | None:
    """What only a Revision's conditions tell."""
    active, healthy, available = (
        condition(revision, kind) for kind in ("Active", "ContainerHealthy", "ResourcesAvailable")
    )
    if active.get("reason") == "UnsupportedClass":
        fix = Fix(
            place.update("--annotation autoscaling.knative.dev/class=kpa.autoscaling.knative.dev"),
            "use Knarr's autoscaler",
        )
        text = "The Revision asks for an autoscaler that Knarr does not have."
        return Finding("UnsupportedAutoscaler", text, (said(revision, "Active"),), (fix,))
    message = str(healthy.get("message") or "")
    if healthy.get("reason") == "ContainerMissing":
        image = next(iter(quoted(message)), "")
        cause = message.partition("failed to resolve image to digest: ")[2] or message
        return image_finding(place, image, cause)
    if available.get("reason") == "NotOwned":
        return taken_finding(place, str(available.get("message") or ""))
    return None


def taken_finding(place: Place, message: str) -> Finding:
    """The finding for a child whose name an object of somebody else has."""
    found = re.search(r'existing (.+) "([^"]+)"', message)
    kind, name = (found[1], found[2]) if found else ("object", "")
    resource = kind.rpartition(" ")[2].lower()
    text = f'There is already a {kind} "{name}" that belongs to something else, so Knarr must not touch it.'
    fixes = (
        Fix(f"kubectl get {resource} {name}{place.flag} -o yaml", "see whose it is"),
        Fix(f"kubectl delete {resource} {name}{place.flag}", "delete it, or choose another name"),
    )
    return Finding("NameTaken", text, (message,), fixes)


def _first(world: World, pods: Sequence[Document], *, faults: bool) -> Finding | None:
    """The first Pod's finding of the wanted sort."""
    for pod in pods:
        found = pod_finding(world, pod)
        if found is not None and found.waiting is not faults:
            return found
    return None


def _from_deployment(world: World, place: Place, revision: str) -> Finding | None:
    """What keeps Pods from being made."""
    for kind in (DEPLOYMENTS, REPLICA_SETS):
        for item in world.every(kind):
            failure = condition(item, "ReplicaFailure")
            if label(item, REVISION_LABEL) == revision and failure.get("status") == "True":
                return refused_pod_finding(place, str(failure.get("message") or ""))
    return None


def _past(  # noqa: PLR0911 - one per reason
    world: World, place: Place, revision: Document
) -> Finding | None:
    """What the conditions and events tell of Pods that are gone."""
    healthy = condition(revision, "ContainerHealthy")
    reason = str(healthy.get("reason") or "")
    if healthy.get("status") == "False" and reason.startswith("ExitCode"):
        return exit_of_revision(place, reason, str(healthy.get("message") or ""))
    available = condition(revision, "ResourcesAvailable")
    if available.get("status") != "False":
        return None
    reason, message = str(available.get("reason") or ""), str(available.get("message") or "")
    if reason == "FailedCreate":
        return refused_pod_finding(place, message)
    if reason == "Unschedulable":
        return placement_finding(world, place, revision, message)
    if reason.startswith("CreateContainer"):
        return config_finding(place, message)
    if "pull" in reason.lower() or "Image" in reason:
        return image_finding(place, next(iter(quoted(message)), ""), message)
    return _gave_up(world, place, revision)


def _gave_up(world: World, place: Place, revision: Document) -> Finding:
    """The finding of a Revision that did not start in time, from the events that are left of it."""
    prefix = f"{name_of(revision)}-deployment-"
    events = world.events_of("Pod", prefix, prefix=True)
    again = Fix(place.update("--annotation tried=again"), "then try again with a new revision")
    found = _from_events(world, place, revision, events)
    if found is None:
        refused = [
            event
            for event in world.events_of("ReplicaSet", prefix, prefix=True)
            if get(event, "reason") == "FailedCreate"
        ]
        if refused:
            found = refused_pod_finding(place, str(get(refused[-1], "message")))
    if found is None:
        found = _unready(place, revision, events)
    return replace(found, fixes=(*found.fixes, again))


def _from_events(
    world: World, place: Place, revision: Document, events: Sequence[Document]
) -> Finding | None:
    """What the events of Pods that are gone say: the image, the configuration, the node."""
    messages: dict[str, str] = {}
    for event in events:
        text = str(get(event, "message") or "")
        pulled = _PULL.search(text)
        if pulled is not None:
            return image_finding(place, pulled[1], pulled[2])
        messages[str(get(event, "reason"))] = text
    failed = messages.get("Failed", "").removeprefix("Error: ")
    if "runc " in failed:
        return start_finding(place, failed, "")
    broken = failed or messages.get("FailedMount", "")
    if broken:
        return config_finding(place, broken)
    if "FailedScheduling" in messages:
        return placement_finding(world, place, revision, messages["FailedScheduling"])
    return None


def _unready(place: Place, revision: Document, events: Sequence[Document]) -> Finding:
    """Started, perhaps, and never ready."""
    evidence = tuple(
        filter(
            None,
            (
                said(revision, "ResourcesAvailable"),
                *distinct_events(events, "Started", "Unhealthy", "BackOff"),
            ),
        )
    )
    by_reason = {str(get(event, "reason")): event for event in events}
    if "Unhealthy" in by_reason:
        line = event_line(by_reason["Unhealthy"])
        text = f"No replica became ready before the progress deadline: {line.partition(': ')[2]}."
        return Finding("ReadinessProbeFailing", text, evidence)
    if "Started" in by_reason:
        port = _user_port(revision)
        text = (
            "The program started but was not ready before the progress deadline; mostly it does not "
            f"listen on 0.0.0.0:$PORT, which is {port}, or its readiness probe fails."
        )
        fix = Fix(place.update("--port PORT"), "if it listens elsewhere")
        return Finding("ProgressDeadlineExceeded", text, evidence, (fix,))
    text = "No replica became ready before the progress deadline."
    return Finding("ProgressDeadlineExceeded", text, evidence)


def _user_port(revision: Document) -> int:
    for container in items(revision, "spec", "containers"):
        for port in items(container, "ports"):
            return int(get(port, "containerPort") or _PORT)
    return _PORT


def _scaling(place: Place, revision: Document, pods: Sequence[Document]) -> Finding | None:
    """A Revision that has some replicas of the number that it begins with."""
    wanted = max(_number(revision, INITIAL_SCALE, 1), _number(revision, MIN_SCALE, 0))
    ready = sum(is_ready(pod) for pod in pods)
    if wanted <= 1 or not ready or ready >= wanted:
        return None
    text = f"{ready} of the {wanted} replicas to begin with are ready; nothing is wrong: wait."
    fix = Fix(place.update("--scale-init 1"), "begin with fewer")
    return Finding("InitialScaleWaiting", text, fixes=(fix,), waiting=True)


def _number(document: Document, key: str, default: int) -> int:
    text = annotation(document, key)
    return int(text) if text.isdigit() else default


def _being_made(place: Place, revision: Document) -> Finding:
    available = condition(revision, "ResourcesAvailable")
    look = Fix(f"knarr explain revision/{name_of(revision)}{place.flag}", "look again")
    if available.get("reason") == "ResolvingDigests":
        text = "The registry is being asked for the image's digest; nothing is wrong: wait."
        return Finding("ResolvingDigests", text, fixes=(look,), waiting=True)
    text = "The Revision is being made; nothing is wrong yet."
    evidence = tuple(filter(None, (said(revision, "ResourcesAvailable"), said(revision, "Active"))))
    return Finding("Deploying", text, evidence, (look,), waiting=True)


def configuration_finding(  # noqa: PLR0911 - one per reason
    world: World, name: str
) -> Finding | None:
    """What keeps a Configuration's newest Revision from being ready; None when it is."""
    configuration = world.find(CONFIGURATIONS, name)
    if configuration is None:
        return Finding("ConfigurationMissing", "The Configuration is not made yet.", waiting=True)
    ready = condition(configuration, "Ready")
    if ready.get("status") == "True":
        return None
    place = Place(
        world.subject.namespace, label(configuration, SERVICE_LABEL) or _service_of(configuration)
    )
    message = str(ready.get("message") or "")
    latest = str(get(configuration, "status", "latestCreatedRevisionName") or "")
    if ready.get("reason") == "RevisionDeleted":
        gone = next(iter(quoted(message)), "")
        text = f'Revision "{gone}", which was to serve, has been deleted.'
        fix = Fix(place.update("--annotation tried=again"), "make a new revision")
        return Finding("RevisionDeleted", text, (message,), (fix,))
    if message.startswith("Revision creation failed"):
        return _not_created(place, message)
    if latest and world.find(REVISIONS, latest) is None:
        text = f'Revision "{latest}" has been deleted.'
        fix = Fix(place.update("--annotation tried=again"), "make a new revision")
        return Finding(
            "RevisionDeleted", text, tuple(filter(None, (said(configuration, "Ready"),))), (fix,)
        )
    if latest:
        return revision_finding(world, latest)
    return Finding("Deploying", "No Revision has been made yet; wait.", waiting=True)


def _service_of(configuration: Document) -> str:
    kind, _, name = owner_of(configuration).partition("/")
    return name if kind == "Service" else ""


def _not_created(place: Place, message: str) -> Finding:
    text = message.partition("message: ")[2].strip().rstrip(".")
    if "already exists" in text:
        name = next(iter(quoted(text)), "")
        fixes = (
            Fix(place.update("--revision-name OTHER"), "choose another name"),
            Fix(f"knarr revision describe {name}{place.flag}", "see what has it"),
        )
        return Finding(
            "RevisionNameTaken", f'Another Revision is already called "{name}".', (message,), fixes
        )
    found = refused_pod_finding(place, text)
    if found.cause == "PodRefused":
        found = replace(
            found, cause="RevisionRefused", text=f"The Revision cannot be made: {text}."
        )
    return replace(found, evidence=(message,))


def revision_chain(world: World, name: str, found: Finding | None) -> tuple[Link, ...]:
    """Revision, Deployment, ReplicaSet, Pod and container, as far as they exist."""
    links = [link_of("Revision", world.find(REVISIONS, name), name)]
    for kind, shown in ((DEPLOYMENTS, "Deployment"), (REPLICA_SETS, "ReplicaSet")):
        found_here = (item for item in world.every(kind) if label(item, REVISION_LABEL) == name)
        links += [_counted(shown, item) for item in found_here]
    pods = world.pods_of(name)
    chosen = next((pod for pod in pods if not is_ready(pod)), pods[0] if pods else None)
    if chosen is not None:
        links += pod_chain(chosen, found)
    return tuple(links)


def pod_chain(pod: Document, found: Finding | None) -> tuple[Link, ...]:
    """A Pod and, when it has the cause, its container."""
    link = Link(
        "Pod",
        name_of(pod),
        state_of(pod),
        "" if is_ready(pod) else str(get(pod, "status", "phase") or ""),
    )
    return (link,) if found is None or found.link is None else (link, found.link)


def _counted(kind: str, item: Document) -> Link:
    wanted = get(item, "spec", "replicas") or 0
    ready = get(item, "status", "readyReplicas") or 0
    failing = condition(item, "ReplicaFailure").get("status") == "True"
    return Link(
        kind,
        name_of(item),
        "True" if ready >= wanted and not failing else "False",
        f"{ready}/{wanted} ready" + (", Pods are refused" if failing else ""),
    )


def pod_subject_finding(world: World, name: str) -> Finding | None:
    """What is wrong with one Pod that was asked for by name."""
    pod = world.find(PODS, name)
    if pod is None:
        return Finding("PodMissing", f'Pod "{name}" does not exist.')
    found = pod_finding(world, pod)
    if get(pod, "metadata", "deletionTimestamp"):
        text = f"Pod {name} is being ended."
        return Finding("PodDeleting", text, waiting=True)
    if found is not None and not found.fixes:
        place = place_of(pod)
        return replace(
            found, fixes=(Fix(f"kubectl describe pod {name}{place.flag}", "see all of it"),)
        )
    return found
