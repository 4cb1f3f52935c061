"""``knarr explain NAME``: what keeps something from being Ready, and what to do about it."""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from knarr.cli.context import Connection, Target, connected, run, target_of
from knarr.cli.explaining import Explanation, Probed, Subject, World
from knarr.cli.explaining import explain as decide
from knarr.cli.explaining.world import (
    AUTOSCALERS,
    CONFIGURATIONS,
    DEPLOYMENTS,
    EVENTS,
    INGRESSES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    REVISION_LABEL,
    REVISIONS,
    ROUTES,
    SERVICE_LABEL,
    SERVICES,
    Document,
    condition,
    label,
    name_of,
)
from knarr.cli.instance import process_statuses
from knarr.cli.output import (
    STDOUT,
    CommandError,
    ExitCode,
    OutputFormat,
    print_json,
    reported,
)
from knarr.meta.errors import NotFound, StatusError
from knarr.meta.objects import Key
from knarr.resources.columns import get, items
from knarr.resources.kind import Kind

_ALIASES = {
    **dict.fromkeys(("service", "services", "ksvc", "kservice"), SERVICES),
    **dict.fromkeys(("configuration", "configurations", "config", "cfg"), CONFIGURATIONS),
    **dict.fromkeys(("revision", "revisions", "rev"), REVISIONS),
    **dict.fromkeys(("route", "routes", "rt"), ROUTES),
    **dict.fromkeys(("pod", "pods", "po"), PODS),
}
# A bare name is the first of these that exists.
_ORDER = (SERVICES, ROUTES, CONFIGURATIONS, REVISIONS, PODS)
_TAIL_LINES = "12"
# Tried besides the ports that the Pod's own documents mention.
_USUAL_PORTS = (80, 3000, 4000, 5000, 5173, 8000, 8081, 8888, 9000, 9090)
_MAX_PORTS = 40
_CONNECT_S = 0.5
_PROBE_S = 2.0
# One Pod explains the others of its Revision.
_MAX_PODS = 8
_PORT_TEXT = re.compile(r"(?<![\d.])([1-9]\d{1,4})(?![\d.])")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(explain)


def explain(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="a Service, or revision/x, route/x, pod/x, ...")
    ],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="namespace")] = "default",
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="text or json")
    ] = OutputFormat.TEXT,
) -> None:
    """Say why something is not Ready and what corrects it, or why it has the replicas that it has.

    The exit code is 0 when all is well or only time is needed, and 7 when something is wrong.

    Example: knarr explain hello
    """
    target = target_of(context)
    with reported():
        kind, plain = parse_subject(name)

        async def body() -> Explanation:
            async with connected(target) as connection:
                return decide(await observe(target, connection, kind, Key(namespace, plain)))

        told = run(body)
        if output is OutputFormat.JSON:
            print_json(asdict(told))
        else:
            _print(told)
        if told.verdict == "fault":
            raise typer.Exit(
                int(ExitCode.NOT_FOUND if told.cause == "NotFound" else ExitCode.NOT_READY)
            )


def parse_subject(text: str) -> tuple[str, str]:
    """The plural (empty when not said) and the name of ``[KIND/]NAME``.

    Raises:
        CommandError: there is nothing to explain about that kind.
    """
    kind, slash, name = text.rpartition("/")
    if not slash:
        return "", text
    plural = _ALIASES.get(kind.lower().partition(".")[0])
    if plural is None or not name:
        known = "ksvc, route, configuration, revision, pod"
        raise CommandError(
            f"cannot explain {text!r}", f"KIND/NAME with one of: {known}", ExitCode.USAGE
        )
    return plural, name


# --- reading --------------------------------------------------------------------------------------------


def _kinds() -> dict[str, Kind[Any]]:
    """The kinds that are read; imported here because most commands need none of them."""
    from knarr.resources.apps.deployment import DEPLOYMENT
    from knarr.resources.apps.replicaset import REPLICA_SET
    from knarr.resources.autoscaling.podautoscaler import POD_AUTOSCALER
    from knarr.resources.core.event import EVENT
    from knarr.resources.core.namespace import NAMESPACE
    from knarr.resources.core.node import NODE
    from knarr.resources.core.pod import POD
    from knarr.resources.networking.ingress import INGRESS
    from knarr.resources.serving.configuration import CONFIGURATION
    from knarr.resources.serving.revision import REVISION
    from knarr.resources.serving.route import ROUTE
    from knarr.resources.serving.service import SERVICE

    return {
        SERVICES: SERVICE,
        CONFIGURATIONS: CONFIGURATION,
        REVISIONS: REVISION,
        ROUTES: ROUTE,
        INGRESSES: INGRESS,
        DEPLOYMENTS: DEPLOYMENT,
        REPLICA_SETS: REPLICA_SET,
        PODS: POD,
        AUTOSCALERS: POD_AUTOSCALER,
        NODES: NODE,
        NAMESPACES: NAMESPACE,
        EVENTS: EVENT,
    }


async def observe(target: Target, connection: Connection, kind: str, key: Key) -> World:
    """Read everything that may have to do with an object.

    Args:
        target: for the time.
        connection: to the API.
        kind: a plural; empty to find out.
        key: of the object.

    Raises:
        NotFound: no kind was said and nothing has the name.
    """
    kinds = _kinds()
    pages: dict[str, list[Document]] = {}

    async def read(plural: str) -> None:
        # Hosts conflict across namespaces.
        space = key.namespace if kinds[plural].namespaced and plural != INGRESSES else ""
        path = kinds[plural].collection_path(space)
        pages[plural] = json.loads(await connection.transport.request("GET", path))["items"]

    async with asyncio.TaskGroup() as group:
        for plural in kinds:
            group.create_task(read(plural))
    chosen = kind or next(
        (plural for plural in _ORDER if any(name_of(one) == key.name for one in pages[plural])), ""
    )
    if not chosen:
        raise NotFound(f"nothing in namespace {key.namespace} is called {key.name!r}")
    pods = relevant_pods(pages, chosen, key.name)
    statuses = await asyncio.to_thread(process_statuses, connection.settings)
    return World(
        now=target.clock.wall(),
        subject=Subject(chosen, key.namespace, key.name),
        documents=pages,
        logs=await _logs(connection, kinds[PODS], pods),
        probes=await _probes(pods),
        processes={one.name: one.ready for one in statuses},
    )


def relevant_pods(pages: dict[str, list[Document]], kind: str, name: str) -> list[Document]:
    """The Pods of the subject that are not ready: those that are looked at closely."""
    revisions = {
        name_of(one)
        for one in pages[REVISIONS]
        if name
        in (
            name_of(one),
            label(one, SERVICE_LABEL),
            label(one, "serving.knative.dev/configuration"),
        )
    }
    found = [
        pod
        for pod in pages[PODS]
        if (name_of(pod) == name if kind == PODS else label(pod, REVISION_LABEL) in revisions)
        and condition(pod, "Ready").get("status") != "True"
    ]
    return found[:_MAX_PODS]


async def _logs(
    connection: Connection, kind: Kind[Any], pods: Sequence[Document]
) -> dict[str, tuple[str, ...]]:
    logs: dict[str, tuple[str, ...]] = {}

    async def read(pod: Document, status: Document) -> None:
        container = str(get(status, "name"))
        path = kind.object_path(Key(get(pod, "metadata", "namespace"), name_of(pod)), "log")
        query = {"container": container, "tailLines": _TAIL_LINES}
        if get(status, "state", "waiting") and get(status, "lastState", "terminated"):
            query["previous"] = "true"
        try:
            text = await connection.transport.request("GET", path, query=query)
        except StatusError:
            return  # not started yet, or its log is gone: the explanation does without
        lines = text.decode(errors="replace").splitlines()
        logs[f"{name_of(pod)}/{container}"] = tuple(line for line in lines if line.strip())

    async with asyncio.TaskGroup() as group:
        for pod in pods:
            for status in _statuses(pod):
                if not get(status, "ready"):
                    group.create_task(read(pod, status))
    return logs


def _statuses(pod: Document) -> Iterable[Document]:
    yield from items(pod, "status", "initContainerStatuses")
    yield from items(pod, "status", "containerStatuses")


# --- probing --------------------------------------------------------------------------------------------


async def _probes(pods: Sequence[Document]) -> dict[str, Probed]:
    """Ask containers that run and are not ready once more, as the node agent does."""
    probes: dict[str, Probed] = {}

    async def ask(pod: Document, name: str) -> None:
        probed = await _probe(pod, name)
        if probed is not None:
            probes[f"{name_of(pod)}/{name}"] = probed

    async with asyncio.TaskGroup() as group:
        for pod in pods:
            for status in items(pod, "status", "containerStatuses"):
                if get(status, "state", "running") and not get(status, "ready"):
                    group.create_task(ask(pod, str(get(status, "name"))))
    return probes


async def _probe(pod: Document, name: str) -> Probed | None:
    from knarr.node.probing import run_probe
    from knarr.node.programs import Output
    from knarr.resources.core.container import Container

    address = str(get(pod, "status", "podIP") or "")
    document = next(
        (one for one in items(pod, "spec", "containers") if get(one, "name") == name), None
    )
    if not address or document is None:
        return None
    try:
        container = msgspec.convert(document, Container)
    except msgspec.ValidationError:
        return None
    probe = container.readiness_probe
    if probe is None or probe.exec is not None:
        return None

    async def execute(command: tuple[str, ...], timeout_s: float) -> Output:  # noqa: ARG001
        return Output(1, b"", b"")  # exec probes are not asked again

    limit_s = min(_PROBE_S, float(probe.timeout_seconds or 1))
    result, listening = await asyncio.gather(
        run_probe(probe, container, address, execute, limit_s),
        _listening(address, candidate_ports(document)),
    )
    return Probed(result.success, result.detail, listening)


def candidate_ports(container: Document) -> tuple[int, ...]:
    """Ports on which the program may listen: those that its spec mentions, and usual ones."""
    named = [get(port, "containerPort") for port in items(container, "ports")]
    texts = [str(get(one, "value") or "") for one in items(container, "env")]
    texts += [str(word) for key in ("command", "args") for word in items(container, key)]
    found = [int(number) for text in texts for number in _PORT_TEXT.findall(text)]
    ports = [port for port in (*named, 8080, *found, *_USUAL_PORTS) if port and port < 65536]
    return tuple(dict.fromkeys(ports))[:_MAX_PORTS]


async def _listening(address: str, ports: Sequence[int]) -> tuple[int, ...]:
    async def accepts(port: int) -> bool:
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(address, port)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True

    answers = await asyncio.gather(*(accepts(port) for port in ports))
    return tuple(port for port, answer in zip(ports, answers, strict=True) if answer)


# --- showing --------------------------------------------------------------------------------------------

_COLOURS = {
    "fault": "bold red",
    "waiting": "bold yellow",
    "ready": "bold green",
    "idle": "bold green",
}
_MARKS = {"True": "ok", "False": "not ready", "Unknown": "not ready yet"}


def _print(told: Explanation) -> None:
    """For people: the cause first, then what proves it, where it is, and what to do."""
    STDOUT.print(f"[{_COLOURS[told.verdict]}]{escape(told.root_cause)}[/]")
    for line in told.evidence:
        STDOUT.print(f"  {escape(line)}")
    for line in told.also:
        STDOUT.print(f"also: {escape(line)}")
    if told.chain and told.verdict in ("fault", "waiting"):
        STDOUT.print("\nwhere:")
        for depth, link in enumerate(told.chain):
            state = _MARKS.get(link.state, link.state)
            detail = f" ({link.detail})" if link.detail else ""
            STDOUT.print(
                f"  {'  ' * depth}{link.kind} {escape(link.name)}: {escape(state + detail)}"
            )
    if told.fixes:
        STDOUT.print("\ntry:")
    for fix in told.fixes:
        STDOUT.print(f"  {escape(fix.command)}  [dim]# {escape(fix.why)}[/]")
