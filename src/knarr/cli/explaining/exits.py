"""Why a container ended, or could not be started; pure."""

import re

from knarr.cli.explaining.place import Place
from knarr.cli.explaining.world import Document, Finding, Fix, World
from knarr.kits.clock import parse_timestamp
from knarr.resources.columns import get, items

_QUICK_S = 2.0
_NOT_FOUND = ("no such file or directory", "executable file not found", "not found in $path")
_SIGNALS = {137: "SIGKILL", 143: "SIGTERM", 139: "SIGSEGV", 134: "SIGABRT"}


def exit_finding(
    world: World, place: Place, pod: Document, status: Document, ended: Document
) -> Finding:
    """The finding for a container that ended.

    Args:
        world: for the log.
        place: where it ran.
        pod: its Pod.
        status: its entry of ``containerStatuses``.
        ended: the ``terminated`` state to explain.
    """
    code = int(get(ended, "exitCode") or 0)
    reason = str(get(ended, "reason") or "")
    evidence = _evidence(world, place, status, ended)
    link = place.link(reason or f"exit {code}")
    if reason == "OOMKilled":
        return _memory(place, pod, evidence)
    if reason == "StartError":
        return start_finding(place, str(get(ended, "message") or ""), command_of(pod, place))
    killed = [
        event for event in world.events_of("Pod", place.pod) if get(event, "reason") == "Killing"
    ]
    if killed and code in (137, 143, 0) and "liveness" in str(get(killed[-1], "message")):
        text = "The container is restarted because its liveness probe fails."
        fixes = (Fix(place.update("--image IMAGE"), "make the program answer"), place.logs())
        return Finding(
            "LivenessProbeFailing", text, (*evidence, _said(killed[-1])), fixes, link=link
        )
    cause, text = _meaning(code, _ran_s(ended), int(get(status, "restartCount") or 0))
    fixes = (place.logs(), Fix(place.update("--env NAME=VALUE"), "set what the program misses"))
    return Finding(cause, text, evidence, fixes, link=link)


def exit_of_revision(place: Place, reason: str, message: str) -> Finding:
    """The finding when no Pod is left, only a Revision's ``ExitCodeN`` condition."""
    code = int(reason.removeprefix("ExitCode") or 0)
    output = message.partition("Container failed with: ")[2].strip() or message.strip()
    if "runc " in output:
        return start_finding(place, output, "")
    cause, text = _meaning(code, 0.0, 0)
    if code == 137:
        text += " SIGKILL mostly means: more memory than the limit allows."
    evidence = tuple(line for line in output.splitlines() if line.strip())[-5:]
    return Finding(cause, text, evidence, (place.logs(),))


def start_finding(place: Place, message: str, command: str) -> Finding:
    """The finding for a process that could not even be made."""
    lower = message.lower()
    named = re.search(r'exec: "([^"]+)"', message)
    shown = command or (f'"{named[1]}"' if named else "The command")
    fix = Fix(place.update("--cmd PROGRAM --arg ARGUMENT"), "name a program that is in the image")
    link = place.link("StartError")
    if "permission denied" in lower:
        text = f"{shown} is in the image but may not be executed."
        why = "name another program, or chmod +x it in the image"
        cause, fix = "PermissionDenied", Fix(place.update("--cmd PROGRAM"), why)
    elif "exec format error" in lower:
        cause, text = "WrongPlatform", f"{shown} is a program for another kind of machine."
        fix = Fix(place.update("--image IMAGE"), "use an image for this machine")
    elif any(sign in lower for sign in _NOT_FOUND):
        cause, text = "CommandNotFound", f"{shown} is not in the image."
    else:
        cause, text = "StartFailed", "The container's process cannot be started."
    return Finding(cause, text, (message.strip(),), (fix,), link=link)


def _meaning(code: int, ran_s: float, restarts: int) -> tuple[str, str]:
    """The cause and the sentence for an exit code."""
    lasted = f" after {ran_s:.0f} s" if ran_s >= _QUICK_S else " at once"
    again = f"; it has been restarted {restarts} times" if restarts > 1 else ""
    match code:
        case 0:
            text = (
                f"The program ends by itself{lasted} (exit 0), but a Service must go on listening"
            )
            return "ContainerCompleted", f"{text}{again}."
        case 126:
            return "PermissionDenied", f"The shell may not execute a program (exit 126{again})."
        case 127:
            return "CommandNotFound", f"The shell does not find a program (exit 127{again})."
        case _ if code in _SIGNALS:
            text = f"The program was ended by {_SIGNALS[code]}{lasted} (exit {code})"
            return "ContainerKilled", f"{text}{again}."
        case _ if ran_s >= _QUICK_S:
            text = f"The program starts and then fails{lasted} with exit code {code}"
            return "CrashLoop", f"{text}{again}."
        case _:
            return "ContainerExited", f"The program ends{lasted} with exit code {code}{again}."


def _ran_s(ended: Document) -> float:
    begun, finished = get(ended, "startedAt"), get(ended, "finishedAt")
    if not begun or not finished:
        return 0.0
    return (parse_timestamp(finished) - parse_timestamp(begun)).total_seconds()


def _evidence(world: World, place: Place, status: Document, ended: Document) -> tuple[str, ...]:
    reason, code = get(ended, "reason") or "Error", get(ended, "exitCode") or 0
    first = f"container {place.container}: {reason}, exit code {code}"
    count = int(get(status, "restartCount") or 0)
    if count:
        first += f", {count} restarts"
    log = world.log_of(place.pod, place.container) or tuple(
        line for line in str(get(ended, "message") or "").splitlines() if line.strip()
    )
    return (first, *(f"log: {line}" for line in log[-5:]))


def _memory(place: Place, pod: Document, evidence: tuple[str, ...]) -> Finding:
    container = container_of(pod, place.container)
    limit = get(container, "resources", "limits", "memory")
    bound = f"its limit of {limit}" if limit else "what this machine has"
    return Finding(
        "OOMKilled",
        f"The container used more memory than {bound} and was killed.",
        evidence,
        (
            Fix(place.update("--limit memory=SIZE"), "allow more"),
            place.logs(),
        ),
        link=place.link("OOMKilled"),
    )


def container_of(pod: Document, name: str) -> Document:
    """A container of a Pod's spec by name; an empty mapping for none."""
    for one in (*items(pod, "spec", "initContainers"), *items(pod, "spec", "containers")):
        if get(one, "name") == name:
            return dict(one)
    return {}


def command_of(pod: Document, place: Place) -> str:
    """What is executed: the spec's command, as text; empty when the image names it."""
    words = items(container_of(pod, place.container), "command")
    return f'"{words[0]}"' if words else ""


def _said(event: Document) -> str:
    return f"event {get(event, 'reason')}: {get(event, 'message')}"
