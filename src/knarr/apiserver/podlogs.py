"""``pods/<name>/log``: which lines of which container, fetched from whoever runs the Pod."""

from dataclasses import dataclass
from typing import Protocol

from knarr.apiserver.request import ApiRequest, ApiResponse, Stream
from knarr.apiserver.routing import Route
from knarr.meta.errors import BadRequest, Cause, Invalid
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec
from knarr.store.store import Store

_STREAMS = {"All": "", "Stdout": "stdout", "Stderr": "stderr"}


@dataclass(frozen=True, slots=True)
class LogOptions:
    """``core/v1`` PodLogOptions; ``stream`` is stdout, stderr or empty for both."""

    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str = ""
    limit_bytes: int | None = None
    stream: str = ""


class PodLogs(Protocol):
    """Where the logs of Pods are."""

    async def open(self, namespace: str, pod: str, options: LogOptions) -> Stream:
        """Start reading; the caller closes the stream.

        Raises:
            StatusError: there are none, or whoever has them cannot be reached.
        """
        ...


class LogReader:
    """Answers GET on ``log``."""

    def __init__(self, store: Store, logs: PodLogs) -> None:
        self._store = store
        self._logs = logs

    async def get(self, route: Route, request: ApiRequest) -> ApiResponse:
        """The log of one container as plain text."""
        entry = self._store.get(route.served.collection, route.key)
        if entry is None:
            raise route.served.not_found(route.name)
        pod = route.served.decode(entry.data)
        options = _parse(request, choose_container(pod, request.text("container")))
        if not pod.spec.node_name:
            raise BadRequest(f'pod "{route.name}" has no logs yet: it is not assigned to a node')
        stream = await self._logs.open(route.namespace, route.name, options)
        return ApiResponse(200, content_type="text/plain", stream=stream)


def choose_container(pod: Pod, wanted: str) -> str:
    """The container that a request is about: the one it names, or the only one. Pure.

    Raises:
        BadRequest: there is no such container, or several to choose from.
    """
    name, spec = pod.metadata.name, pod.spec or PodSpec()
    containers = [each.name for each in spec.containers]
    initial = [each.name for each in spec.init_containers]
    if wanted:
        if wanted not in (*initial, *containers):
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(containers) == 1:
        return containers[0]
    message = f"a container name must be specified for pod {name}"
    if containers:
        message += f", choose one of: [{' '.join(containers)}]"
    if initial:
        message += f" or one of the init containers: [{' '.join(initial)}]"
    raise BadRequest(message)


def _parse(request: ApiRequest, container: str) -> LogOptions:
    since_seconds, since_time = request.integer("sinceSeconds"), request.text("sinceTime")
    if since_seconds is not None and since_time:
        message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        raise _invalid("", "FieldValueForbidden", message)
    for name in ("sinceSeconds", "limitBytes"):
        if request.integer(name) == 0:
            message = "Invalid value: 0: must be greater than 0"
            raise _invalid(name, "FieldValueInvalid", message)
    stream = request.text("stream") or "All"
    if stream not in _STREAMS:
        message = f'Unsupported value: "{stream}": supported values: "All", "Stderr", "Stdout"'
        raise _invalid("stream", "FieldValueNotSupported", message)
    return LogOptions(
        container=container,
        follow=request.flag("follow"),
        previous=request.flag("previous"),
        timestamps=request.flag("timestamps"),
        tail_lines=request.integer("tailLines"),
        since_seconds=since_seconds,
        since_time=since_time,
        limit_bytes=request.integer("limitBytes"),
        stream=_STREAMS[stream],
    )


def _invalid(field: str, reason: str, message: str) -> Invalid:
    return Invalid(
        f'PodLogOptions "" is invalid: {field}: {message}',
        kind="PodLogOptions",
        causes=[Cause(reason=reason, message=message, field=field)],
    )
