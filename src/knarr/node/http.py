"""``run/node.sock``: logs of Pods, images and the agent's own state, over HTTP."""

import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
from aiohttp import web

from knarr.kits.clock import Clock, parse_timestamp
from knarr.meta.errors import BadRequest, NotFound, StatusError, status_body
from knarr.meta.objects import Key
from knarr.node.imagecleanup import PruneReport
from knarr.node.images.errors import ImageError
from knarr.node.images.records import ImageRecord
from knarr.node.logformat import LogOptions
from knarr.node.logreading import read_log
from knarr.node.logs import LogFile
from knarr.node.podworker import PodWorker
from knarr.node.sandbox import Sandbox
from knarr.node.sessions.api import SessionApi

_MAX_BODY_BYTES = 64 * 1024
_SHUTDOWN_S = 1.0


class ResolveRequest(msgspec.Struct, frozen=True, rename="camel"):
    """Body of ``POST /v1/images/resolve``; pull secrets are of the namespace."""

    reference: str
    namespace: str = ""
    pull_secrets: tuple[str, ...] = ()


class ImageCatalog(Protocol):
    """What the API offers of images."""

    def list(self) -> tuple[ImageRecord, ...]:
        """Every image that is complete here."""
        ...

    async def prune(self, *, everything: bool) -> PruneReport:
        """Remove images that nothing needs; with ``everything`` all that can be had again.

        Raises:
            ImageError: not now.
        """
        ...

    async def resolve(self, reference: str, namespace: str, pull_secrets: tuple[str, ...]) -> str:
        """The reference by digest: ``host/name@sha256:…``.

        Raises:
            ImageError: it cannot be resolved.
        """
        ...


class NodeApi:
    """Serves the socket; an async context manager. Only root and the agent's own user can connect."""

    def __init__(  # noqa: PLR0913 - what the socket offers
        self,
        socket: Path,
        *,
        workers: Callable[[Key], PodWorker | None],
        sandboxes: Callable[[], Mapping[str, Sandbox]],
        images: ImageCatalog,
        status: Callable[[], dict[str, Any]],
        drop_parked: Callable[[], int],
        clock: Clock,
        sessions: SessionApi | None = None,
    ) -> None:
        self._sessions = sessions
        self._drop = drop_parked
        self._socket = socket
        self._workers = workers
        self._sandboxes = sandboxes
        self._images = images
        self._status = status
        self._clock = clock
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "NodeApi":
        app = web.Application(middlewares=[_errors], client_max_size=_MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/v1/status", self._get_status),
                web.get("/v1/sandboxes", self._get_sandboxes),
                web.delete("/v1/parked", self._drop_parked),
                web.get("/v1/images", self._get_images),
                web.post("/v1/images/resolve", self._resolve_image),
                web.post("/v1/images/prune", self._prune_images),
                web.get("/v1/pods/{namespace}/{name}/logs", self._get_logs),
                *(self._sessions.routes() if self._sessions is not None else ()),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_S, handler_cancellation=True
        )
        await self._runner.setup()
        self._socket.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._socket)).start()
        finally:
            os.umask(before)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get_status(self, _: web.Request) -> web.Response:
        return _json(self._status())

    async def _get_sandboxes(self, _: web.Request) -> web.Response:
        return _json({"sandboxes": [_describe(one) for one in self._sandboxes().values()]})

    async def _drop_parked(self, _: web.Request) -> web.Response:
        return _json({"dropped": self._drop()})

    async def _get_images(self, _: web.Request) -> web.Response:
        return _json({"images": [msgspec.to_builtins(image) for image in self._images.list()]})

    async def _resolve_image(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=ResolveRequest)
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is no resolve request: {error}") from error
        try:
            digest = await self._images.resolve(
                wanted.reference, wanted.namespace, wanted.pull_secrets
            )
        except ImageError as error:
            code = 503 if error.retryable else 400
            raise StatusError(error.message, code=code, reason=error.reason) from error
        return _json({"digest": digest})

    async def _prune_images(self, request: web.Request) -> web.Response:
        try:
            report = await self._images.prune(everything=request.query.get("all") == "true")
        except ImageError as error:
            raise StatusError(error.message, code=503, reason=error.reason) from error
        return _json(report)

    # --- logs -----------------------------------------------------------------------------------------

    async def _get_logs(self, request: web.Request) -> web.StreamResponse:
        key = Key(request.match_info["namespace"], request.match_info["name"])
        worker = self._workers(key)
        if worker is None or worker.sandbox is None:
            raise NotFound(
                f'pod "{key.name}" has no containers on this node', kind="pods", name=key.name
            )
        options = parse_log_options(request.query, self._clock.wall())
        previous = request.query.get("previous") == "true"
        path, growing = _find_log(
            worker, worker.sandbox, request.query.get("container", ""), previous=previous
        )
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        async for block in read_log(path, options, growing):
            await response.write(block)
        await response.write_eof()
        return response


def _find_log(
    worker: PodWorker, sandbox: Sandbox, name: str, *, previous: bool
) -> tuple[Path, LogFile | None]:
    spec = worker.context.spec
    names = [one.name for one in (*spec.init_containers, *spec.containers)]
    name = name or (spec.containers[0].name if spec.containers else "")
    pod = worker.context.pod.metadata.name
    if name not in names:
        raise BadRequest(f"container {name} is not valid for pod {pod}")
    run = sandbox.runs.get(name)
    if previous and (run is None or run.exit is None or not worker.context.views[name].last):
        run = sandbox.previous.get(name)
    if run is None:
        what = "previous terminated container" if previous else "container"
        waiting = worker.context.views[name].waiting if name in worker.context.views else None
        state = f"is waiting to start: {waiting.reason if waiting else 'ContainerCreating'}"
        raise BadRequest(f'{what} "{name}" in pod "{pod}" {"not found" if previous else state}')
    growing = run.pump.file if run.exit is None else None
    return sandbox.paths.log(name, run.attempt), growing


def parse_log_options(query: Mapping[str, str], now: dt.datetime) -> LogOptions:
    """The query parameters of ``core/v1`` PodLogOptions.

    Raises:
        BadRequest: a number or time that is none.
    """
    since = None
    try:
        if "sinceSeconds" in query:
            since = now - dt.timedelta(seconds=int(query["sinceSeconds"]))
        if "sinceTime" in query:
            since = parse_timestamp(query["sinceTime"])
        return LogOptions(
            follow=query.get("follow") == "true",
            tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
            since=since,
            timestamps=query.get("timestamps") == "true",
            limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
            stream=query.get("stream", ""),
        )
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"log options: {error}") from error


def _describe(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "id": sandbox.id,
        "address": sandbox.address,
        "pod": str(Key(sandbox.identity.namespace, sandbox.identity.name)),
        "podUid": sandbox.identity.uid,
        "revision": sandbox.record.revision,
        "removing": sandbox.removing,
        "containers": [
            {
                "name": run.name,
                "id": run.container_id,
                "pid": run.process.pid if run.process else 0,
                "attempt": run.attempt,
                "state": "parked" if run.parked else ("running" if run.running else "ended"),
                "exitCode": run.exit.code if run.exit else None,
            }
            for run in sandbox.runs.values()
        ],
    }


def _json(document: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every refusal is a ``metav1.Status``."""
    try:
        response: web.StreamResponse = await handler(request)
    except StatusError as error:
        return web.Response(
            status=error.code,
            body=msgspec.json.encode(status_body(error)),
            content_type="application/json",
        )
    return response
