"""``pods/<name>/exec``, ``attach`` and ``portforward``: who may have a session, in which protocol.

What can be refused is refused here, before the connection leaves HTTP: the session at the node runs by the
time that the answer is 101.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from knarr.apiserver.podlogs import choose_container
from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.apiserver.routing import Route
from knarr.apiserver.streams import forwarding, remotecommand
from knarr.apiserver.streams.node import NodeStream, PodStreams, StreamKind
from knarr.apiserver.streams.upgrade import WEBSOCKET, Session, Upgrade
from knarr.meta.errors import BadRequest, Forbidden, NotFound
from knarr.meta.objects import Key
from knarr.resources.core.pod import Pod
from knarr.store.store import Store

_STREAMS = ("stdin", "stdout", "stderr")
_COMPLETED = ("Succeeded", "Failed")


class CommandOptions(NamedTuple):
    """``core/v1`` PodExecOptions and PodAttachOptions."""

    container: str
    streams: frozenset[str]
    tty: bool
    command: tuple[str, ...] = ()


class PodSessions:
    """Answers requests for sessions with Pods."""

    def __init__(self, store: Store, streams: PodStreams) -> None:
        self._store = store
        self._streams = streams

    async def exec(self, route: Route, request: ApiRequest) -> ApiResponse:
        """A command in a running container."""
        return await self._command("exec", route, request)

    async def attach(self, route: Route, request: ApiRequest) -> ApiResponse:
        """The standard streams of a container's own process."""
        return await self._command("attach", route, request)

    async def _command(self, kind: StreamKind, route: Route, request: ApiRequest) -> ApiResponse:
        pod, upgrade = self._pod(route), _required(request)
        options = command_options(pod, upgrade, request, needs_command=kind == "exec")
        websocket = upgrade.protocol == WEBSOCKET
        known = remotecommand.WEBSOCKET_PROTOCOLS if websocket else remotecommand.SPDY_PROTOCOLS
        protocol = _protocol(upgrade, known)
        node = await self._streams.open(kind, pod.key, pod.metadata.uid, command_query(options))
        if websocket:
            run = partial(remotecommand.over_websocket, protocol=protocol, node=node)
            return _switching(Session(protocol, node.close, over_messages=run))
        wanted = options.streams | {"error"}
        if options.tty:
            wanted |= {"resize"}
        spdy = partial(remotecommand.over_spdy, wanted=wanted, node=node)
        return _switching(Session(protocol, node.close, over_bytes=spdy))

    async def portforward(self, route: Route, request: ApiRequest) -> ApiResponse:
        """Connections to ports of a Pod."""
        pod, upgrade = self._pod(route), _required(request)
        if pod.status is not None and pod.status.phase in _COMPLETED:
            raise BadRequest(f"pod {route.name} has ended: its phase is {pod.status.phase}")
        open_port = partial(self._open_port, pod.key, pod.metadata.uid)
        if upgrade.protocol != WEBSOCKET:
            protocol = _protocol(upgrade, (forwarding.SPDY_PROTOCOL,))
            spdy = partial(forwarding.over_spdy, open_port=open_port)
            return _switching(Session(protocol, _nothing, over_bytes=spdy))
        known = (forwarding.TUNNEL_PROTOCOL, *remotecommand.CHANNEL_PROTOCOLS)
        protocol = _protocol(upgrade, known)
        if protocol == forwarding.TUNNEL_PROTOCOL:
            tunnel = partial(forwarding.over_tunnel, open_port=open_port)
            return _switching(Session(protocol, _nothing, over_messages=tunnel))
        several = partial(
            forwarding.over_websocket,
            protocol=protocol, ports=wanted_ports(upgrade), open_port=open_port,
        )  # fmt: skip
        return _switching(Session(protocol, _nothing, over_messages=several))

    async def ephemeral(self, _route: Route, _request: ApiRequest) -> ApiResponse:
        """Containers added to a running Pod, for ``kubectl debug``: there are none.

        Raises:
            NotFound: always; kubectl reads from a kind without a name that it is the feature that is
                missing, not the Pod.
        """
        raise NotFound(
            "Knarr adds no containers to a running Pod: use exec, or debug with --copy-to",
            kind="pods",
        )

    async def _open_port(self, key: Key, uid: str, port: int) -> NodeStream:
        return await self._streams.open("portforward", key, uid, [("port", str(port))])

    def _pod(self, route: Route) -> Pod:
        if route.served.collection != "pods":
            raise NotFound("the server could not find the requested resource")
        entry = self._store.get(route.served.collection, route.key)
        if entry is None:
            raise route.served.not_found(route.name)
        pod: Pod = route.served.decode(entry.data)
        if pod.spec is None or not pod.spec.node_name:
            raise BadRequest(f"pod {route.name} does not have a host assigned")
        return pod


def command_options(
    pod: Pod, upgrade: Upgrade, request: ApiRequest, *, needs_command: bool
) -> CommandOptions:
    """What is asked for. Pure.

    Raises:
        BadRequest: an unknown container, no stream, or no command.
    """
    streams = {name for name in _STREAMS if request.flag(name)}
    tty = request.flag("tty")
    if tty:
        streams.discard("stderr")
    if not streams:
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    command = upgrade.values("command")
    if needs_command and not (command and command[0]):
        raise BadRequest("you must specify at least one command for the container")
    container = choose_container(pod, request.text("container"))
    return CommandOptions(container, frozenset(streams), tty, command)


def command_query(options: CommandOptions) -> list[tuple[str, str]]:
    """The options as the node agent reads them."""
    query = [("container", options.container)]
    query += [(name, "true") for name in sorted(options.streams)]
    if options.tty:
        query.append(("tty", "true"))
    return query + [("command", one) for one in options.command]


def wanted_ports(upgrade: Upgrade) -> tuple[int, ...]:
    """The ports of a WebSocket's port-forward; several parameters or one list with commas. Pure.

    Raises:
        BadRequest: there is none, too many, or something that is no port.
    """
    texts = [one for value in upgrade.values("ports") for one in value.split(",")]
    ports = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 6]
    if len(ports) != len(texts) or any(not 0 < port < 65536 for port in ports):
        raise BadRequest(f"ports {','.join(texts)!r}: each must be between 1 and 65535")
    if not 0 < len(ports) <= forwarding.MAX_WEBSOCKET_PORTS:
        raise BadRequest(f"ports: from 1 to {forwarding.MAX_WEBSOCKET_PORTS} must be named")
    return tuple(ports)


def _required(request: ApiRequest) -> Upgrade:
    if request.upgrade is None:
        raise BadRequest("Upgrade request required")
    return request.upgrade


def _protocol(upgrade: Upgrade, known: Sequence[str]) -> str:
    protocol = upgrade.choose(known)
    if protocol is None:
        raise Forbidden(
            f"unable to upgrade: unable to negotiate protocol: client supports "
            f"{list(upgrade.offers)}, server accepts {list(known)}"
        )
    return protocol


def _switching(session: Session) -> ApiResponse:
    return ApiResponse(101, session=session)


async def _nothing() -> None:
    """A port-forward holds nothing until its client opens a connection."""
