"""Why a container runs and is not ready: its probe, or nothing listens; pure."""

from knarr.cli.explaining.exits import container_of
from knarr.cli.explaining.place import Place
from knarr.cli.explaining.world import (
    Document,
    Finding,
    Fix,
    Probed,
    World,
    distinct_events,
)
from knarr.resources.columns import get, items

_PATIENCE_S = 5.0
_REFUSED = ("connect call failed", "refused")


def readiness_finding(world: World, place: Place, pod: Document, status: Document) -> Finding:
    """The finding for a container that runs and is not ready."""
    container = container_of(pod, place.container)
    probe = get(container, "readinessProbe") or {}
    probed = world.probes.get(f"{place.pod}/{place.container}")
    unhealthy = [
        event for event in world.events_of("Pod", place.pod) if get(event, "reason") == "Unhealthy"
    ]
    ran_s = world.age_s(get(status, "state", "running", "startedAt"))
    if (probed is None or probed.success) and not unhealthy and ran_s < _PATIENCE_S:
        text = f"The container started {max(0.0, ran_s):.0f} s ago and is not ready yet."
        return Finding("Starting", text, waiting=True, link=place.link("starting"))
    detail = _detail(probed, unhealthy)
    evidence = [f"container {place.container} runs since {ran_s:.0f} s and is not ready"]
    if detail:
        evidence.append(f"{describe(probe)}: {detail}")
    if probed is not None and probed.listening:
        ports = ", ".join(str(port) for port in probed.listening)
        evidence.append(f"it accepts connections on port {ports}")
    evidence += distinct_events(unhealthy, "Unhealthy")
    evidence += [f"log: {line}" for line in world.log_of(place.pod, place.container)]
    cause, text, fixes = _judge(place, probe, detail, probed)
    return Finding(
        cause, text, tuple(evidence), (*fixes, place.logs()), link=place.link("not ready")
    )


def _judge(
    place: Place, probe: Document, detail: str, probed: Probed | None
) -> tuple[str, str, tuple[Fix, ...]]:
    port = port_of(probe)
    lower = detail.lower()
    others = tuple(one for one in probed.listening if one != port) if probed else ()
    if port and (not detail or any(sign in lower for sign in _REFUSED)):
        return _nothing_listens(place, port, others)
    if "statuscode" in lower or "status code" in lower:
        code = detail.rpartition(":")[2].strip()
        text = f"The readiness probe {describe(probe)} is answered with status {code}."
        cause = "ReadinessProbeFailing"
    elif "no answer within" in lower:
        text = f"The readiness probe {describe(probe)} gets no answer in time."
        cause = "ReadinessProbeTimeout"
    else:
        text = (
            f"The readiness probe {describe(probe)} fails: {detail or 'nothing is known of why'}."
        )
        cause = "ReadinessProbeFailing"
    change = Fix(
        f"kubectl edit ksvc {place.service}{place.flag}",
        "correct the readinessProbe, or the program",
    )
    return cause, text, (change,) if place.service else ()


def _nothing_listens(
    place: Place, port: int, others: tuple[int, ...]
) -> tuple[str, str, tuple[Fix, ...]]:
    if others:
        ports = " and ".join(str(one) for one in others)
        text = f"The program listens on port {ports}, but requests are sent to port {port}."
        return (
            "WrongPort",
            text,
            (
                Fix(place.update(f"--port {others[0]}"), "send requests where it listens"),
                Fix(place.update("--image IMAGE"), f"or let it listen on $PORT, which is {port}"),
            ),
        )
    text = (
        f"The program runs, but nothing listens on port {port}: it must listen on 0.0.0.0:$PORT "
        "(not on localhost)."
    )
    return "NotListening", text, (Fix(place.update("--port PORT"), "if it listens elsewhere"),)


def _detail(probed: Probed | None, unhealthy: list[Document]) -> str:
    if probed is not None and not probed.success:
        return probed.detail.strip()
    if unhealthy:
        message = str(get(unhealthy[-1], "message") or "")
        return message.partition("probe failed: ")[2].strip() or message
    return ""


def port_of(probe: Document) -> int:
    """The port that a probe asks; 0 for one without a number."""
    for handler in ("httpGet", "tcpSocket", "grpc"):
        port = get(probe, handler, "port")
        if isinstance(port, int):
            return port
    return 0


def describe(probe: Document) -> str:
    """A probe as a person writes it."""
    http, port = get(probe, "httpGet"), port_of(probe)
    if http is not None:
        return f"GET :{port}{get(http, 'path') or '/'}"
    if get(probe, "exec") is not None:
        return f"exec {' '.join(str(word) for word in items(probe, 'exec', 'command'))}"
    if get(probe, "grpc") is not None:
        return f"gRPC health check on port {port}"
    return f"TCP connection to port {port}" if port else "(none)"
