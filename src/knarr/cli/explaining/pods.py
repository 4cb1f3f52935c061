"""What is wrong with a Pod: where it goes, its volumes, its containers; pure."""

import re
from dataclasses import replace

from knarr.cli.explaining.exits import exit_finding
from knarr.cli.explaining.images import image_finding
from knarr.cli.explaining.place import Place
from knarr.cli.explaining.readiness import readiness_finding
from knarr.cli.explaining.scheduling import node_finding, placement_finding
from knarr.cli.explaining.world import (
    REVISION_LABEL,
    SERVICE_LABEL,
    Document,
    Finding,
    Fix,
    World,
    condition,
    distinct_events,
    event_line,
    label,
    name_of,
)
from knarr.resources.columns import get, items

_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "InvalidImageArchive",
        "ErrImageUnpack",
        "ErrImageHostBase",
        "InsufficientStorage",
        "ImageStoreBusy",
    }
)
_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?:(?P<kind>\w+) )?(?P<where>.+)")
_ABSENT = re.compile(
    r'(?P<kind>configmap|secret|persistentvolumeclaim) "(?P<name>[^"]+)" not found', re.IGNORECASE
)


def place_of(pod: Document) -> Place:
    """Where a Pod belongs."""
    return Place(
        namespace=str(get(pod, "metadata", "namespace") or "default"),
        service=label(pod, SERVICE_LABEL),
        revision=label(pod, REVISION_LABEL),
        pod=name_of(pod),
    )


def is_ready(pod: Document) -> bool:
    """Whether the Pod gets requests."""
    return bool(condition(pod, "Ready").get("status") == "True")


def pod_finding(world: World, pod: Document) -> Finding | None:
    """The first thing that keeps a Pod from being ready; None when it is."""
    place = place_of(pod)
    if get(pod, "status", "phase") == "Succeeded" or is_ready(pod):
        return None
    unplaced = condition(pod, "PodScheduled")
    if unplaced.get("status") == "False":
        return placement_finding(world, place, pod, str(unplaced.get("message") or ""))
    found = _containers(world, place, pod)
    if found is not None and not found.waiting:
        return found
    events = world.events_of("Pod", place.pod)
    broken = [
        event
        for event in events
        if get(event, "reason") in ("FailedMount", "FailedCreatePodSandBox")
    ]
    if broken and not items(pod, "status", "podIPs"):
        return _not_made(place, broken[-1])
    if found is None or not get(pod, "status", "startTime"):
        return node_finding(world, pod) or found or _waiting(place)
    return found


def _waiting(place: Place) -> Finding:
    return Finding("Starting", f"Pod {place.pod} is being started.", waiting=True)


def _containers(world: World, place: Place, pod: Document) -> Finding | None:
    """The first container that is not ready: init containers first."""
    waiting = None
    for status in items(pod, "status", "initContainerStatuses"):
        if get(status, "state", "terminated", "exitCode") == 0:
            continue
        found = _container(world, replace(place, container=get(status, "name")), pod, status)
        if not found.waiting:
            return found
        waiting = waiting or found
    for status in items(pod, "status", "containerStatuses"):
        if get(status, "ready"):
            continue
        found = _container(world, replace(place, container=get(status, "name")), pod, status)
        if not found.waiting:
            return found
        waiting = waiting or found
    return waiting


def _container(  # noqa: PLR0911 - one per state
    world: World, place: Place, pod: Document, status: Document
) -> Finding:
    waiting = get(status, "state", "waiting")
    ended = get(status, "state", "terminated") or get(status, "lastState", "terminated")
    reason = str(get(waiting, "reason") or "")
    message = str(get(waiting, "message") or "")
    if reason in _IMAGE:
        return image_finding(place, image_of(pod, place, status), message)
    if reason in ("CreateContainerConfigError", "CreateContainerError"):
        return config_finding(place, message)
    if ended is not None:
        return exit_finding(world, place, pod, status, ended)
    if waiting is not None and reason in _STARTING:
        return _starting(world, place, status)
    if get(status, "state", "running") is not None:
        return readiness_finding(world, place, pod, status)
    if not reason:
        return _starting(world, place, status)
    text = f"Container {place.container} waits: {reason}."
    return Finding(
        reason, text, (message,) if message else (), (place.logs(),), link=place.link(reason)
    )


def image_of(pod: Document, place: Place, status: Document) -> str:
    """The container's image as the spec names it."""
    for one in (*items(pod, "spec", "initContainers"), *items(pod, "spec", "containers")):
        if get(one, "name") == place.container:
            return str(get(one, "image") or "")
    return str(get(status, "image") or "")


def _starting(world: World, place: Place, status: Document) -> Finding:
    """A container that is being made: pulling its image, most of the time."""
    events = world.events_of("Pod", place.pod)
    pulling = [event for event in events if get(event, "reason") in ("Pulling", "Pulled")]
    if pulling and get(pulling[-1], "reason") == "Pulling":
        image = str(get(status, "image") or "its image")
        since_s = world.age_s(get(pulling[-1], "lastTimestamp"))
        text = f"The image {image} is being pulled since {since_s:.0f} s; nothing is wrong: wait."
        fixes = (Fix(f"knarr explain {place.service or place.pod}{place.flag}", "look again"),)
        evidence = (event_line(pulling[-1]),)
        return Finding(
            "PullingImage", text, evidence, fixes, waiting=True, link=place.link("pulling")
        )
    text = f"Container {place.container} is being made."
    lines = tuple(distinct_events(events, "Scheduled", "Pulled", "Created", "Started"))
    return Finding("Starting", text, lines, waiting=True, link=place.link("starting"))


def config_finding(place: Place, message: str) -> Finding:
    """The finding for environment, volumes and users that cannot be had."""
    key = _KEY.search(message)
    link = place.link("waiting for configuration")
    if key is not None:
        where = key["where"].strip().strip('"').rpartition("/")[2]
        kind = (key["kind"] or "").lower() or "ConfigMap or Secret"
        text = f'{_shown(kind)} "{where}" has no key "{key["key"]}".'
        show = Fix(
            f"kubectl describe {_resource(kind)} {where}{place.flag}", "see which keys it has"
        )
        return Finding("ConfigKeyMissing", text, (message,), (show,), link=link)
    absent = _ABSENT.search(message)
    if absent is not None:
        return missing_finding(place, absent["kind"].lower(), absent["name"], message)
    if "non-existent config key" in message:
        text = "A volume wants a key that its ConfigMap or Secret does not have."
        edit = Fix(f"kubectl edit ksvc {place.service}{place.flag}", "correct the volume's items")
        return Finding("ConfigKeyMissing", text, (message,), (edit,), link=link)
    text = f"The container cannot be made as its spec says: {message}."
    edit = Fix(f"kubectl edit ksvc {place.service}{place.flag}", "correct it")
    return Finding("BadContainerConfig", text, (message,), (edit,), link=link)


def missing_finding(place: Place, kind: str, name: str, message: str) -> Finding:
    """The finding for a ConfigMap, Secret or claim that is not there."""
    namespace = place.namespace
    match kind:
        case "configmap":
            command = f"kubectl create configmap {name} -n {namespace} --from-literal=KEY=VALUE"
        case "secret":
            command = (
                f"kubectl create secret generic {name} -n {namespace} --from-literal=KEY=VALUE"
            )
        case _:
            command = "kubectl apply -f CLAIM.yaml"
    text = f'{_shown(kind)} "{name}" does not exist in namespace {namespace}, and the container needs it.'
    fix = Fix(command, "make it; the container starts by itself then")
    cause = {"configmap": "ConfigMapMissing", "secret": "SecretMissing"}.get(kind, "ClaimMissing")
    return Finding(cause, text, (message,), (fix,), link=place.link("waiting for configuration"))


def _not_made(place: Place, event: Document) -> Finding:
    message = str(get(event, "message") or "")
    evidence = event_line(event)
    if get(event, "reason") == "FailedMount":
        absent = _ABSENT.search(message)
        if absent is not None:
            found = missing_finding(place, absent["kind"].lower(), absent["name"], evidence)
            return replace(
                found, text=found.text.replace("the container needs it", "a volume needs it")
            )
        if "token" in message:
            text = "The Pod gets no service account token."
            return Finding(
                "TokenRefused", text, (evidence,), (Fix("knarr status", "see what runs"),)
            )
        return replace(config_finding(place, message), evidence=(evidence,))
    text = "The node cannot make the Pod's sandbox."
    return Finding("SandboxFailed", text, (evidence,), (Fix("knarr doctor", "check this machine"),))


def _shown(kind: str) -> str:
    return {
        "configmap": "ConfigMap",
        "secret": "Secret",
        "persistentvolumeclaim": "PersistentVolumeClaim",
    }.get(kind, kind)


def _resource(kind: str) -> str:
    return kind if kind in ("configmap", "secret") else "configmap,secret"
