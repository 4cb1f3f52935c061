"""The sessions part of ``run/node.sock``: finds the container, says whether there is a session, runs it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiohttp import web

from knarr.meta.errors import BadRequest, NotFound, StatusError, TooManyRequests
from knarr.meta.objects import Key
from knarr.node.launch import Launcher
from knarr.node.podworker import PodWorker
from knarr.node.sandbox import ContainerRun, Sandbox
from knarr.node.sessions.attaching import run_attached
from knarr.node.sessions.commands import Command, CommandRequest
from knarr.node.sessions.executing import run_command
from knarr.node.sessions.link import Link, ServerGone, new_connection
from knarr.node.sessions.ports import connect, run_connection

MAX_SESSIONS = 1000
_STREAMS = ("stdin", "stdout", "stderr")
Body = Callable[[Link, web.Request], Awaitable[None]]


class SessionApi:
    """Handlers of the three kinds of session.

    Args:
        workers: the worker of the Pod of that name.
        launcher: of its containers.
        rng: for names of directories.
    """

    def __init__(
        self,
        workers: Callable[[Key], PodWorker | None],
        launcher: Launcher,
        rng: random.Random,
    ) -> None:
        self._workers = workers
        self._launcher = launcher
        self._rng = rng
        self._starts = asyncio.Semaphore(2 * launcher.machine.cpus + 2)
        self._running = 0

    def routes(self) -> list[web.RouteDef]:
        """What the node's HTTP server adds to its own."""
        root = "/v1/pods/{namespace}/{name}"
        return [
            web.get(f"{root}/exec", partial(self._session, self._exec)),
            web.get(f"{root}/attach", partial(self._session, self._attach)),
            web.get(f"{root}/portforward", partial(self._session, self._forward)),
        ]

    async def _session(self, body: Body, request: web.Request) -> web.StreamResponse:
        connection = new_connection()
        await connection.prepare(request)
        link = Link(connection)
        self._running += 1
        try:
            if self._running > MAX_SESSIONS:
                raise TooManyRequests("too many sessions with containers", retry_after_s=5)
            await body(link, request)
        except StatusError as error:
            await link.refuse(error)
        except ServerGone:
            pass
        finally:
            self._running -= 1
            await connection.close()
        return connection

    async def _exec(self, link: Link, request: web.Request) -> None:
        sandbox, run = self._running_container(request)
        query = request.query
        command = CommandRequest(
            run.container_id,
            tuple(query.getall("command", ())),
            **{name: name in query for name in _STREAMS},
            tty="tty" in query,
        )
        if not command.command:
            raise BadRequest("you must specify at least one command for the container")
        await link.accept()
        launcher = self._launcher
        directory = launcher.layout.sessions / f"{self._rng.getrandbits(64):016x}"
        group = launcher.cgroup_path(sandbox, run.container_id)
        processes = partial(launcher.machine.cgroups.processes, group)
        await run_command(
            link,
            Command(command, launcher.runtime, launcher.exits, directory, processes, self._starts),
        )

    async def _attach(self, link: Link, request: web.Request) -> None:
        _, run = self._running_container(request)
        await link.accept()
        wanted = frozenset(name for name in _STREAMS if name in request.query)
        await run_attached(link, run, wanted, partial(self._launcher.close_console, run))

    async def _forward(self, link: Link, request: web.Request) -> None:
        worker, sandbox = self._sandbox(request)
        port = _port(request.query)
        pod = worker.context.pod.metadata.name
        async with await connect(sandbox.paths.network_namespace, port, pod) as connection:
            await link.accept()
            await run_connection(link, connection)

    def _sandbox(self, request: web.Request) -> tuple[PodWorker, Sandbox]:
        key = Key(request.match_info["namespace"], request.match_info["name"])
        worker = self._workers(key)
        if worker is None or worker.context.pod.metadata.uid != request.query.get("uid"):
            raise NotFound(f'pods "{key.name}" not found', kind="pods", name=key.name)
        sandbox = worker.sandbox
        if sandbox is None or sandbox.removing:
            raise BadRequest(f"pod {key.name} is not running")
        return worker, sandbox

    def _running_container(self, request: web.Request) -> tuple[Sandbox, ContainerRun]:
        """The container's current run.

        Raises:
            NotFound, BadRequest: there is no such Pod, or the container does not run.
        """
        _, sandbox = self._sandbox(request)
        name = request.query.get("container", "")
        run = sandbox.runs.get(name)
        if run is None or not run.running:
            raise BadRequest(f'container not found ("{name}")')
        return sandbox, run


def _port(query: Mapping[str, str]) -> int:
    text = query.get("port", "")
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 0 < port < 65536:
        raise BadRequest(f"port {text!r}: must be between 1 and 65535, inclusive")
    return port
