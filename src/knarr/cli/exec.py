"""``knarr exec NAME -- COMMAND``: a command in a replica of a Service."""

import asyncio
import os
import sys
from contextlib import ExitStack
from typing import Annotated

import aiohttp
import msgspec
import typer

from knarr.cli.context import Connection, Target, connected, run, target_of
from knarr.cli.logs import first_container, pods_of
from knarr.cli.output import CommandError, ExitCode, reported
from knarr.cli.terminal import InputReader, raw_terminal, size_changes, terminal_size
from knarr.kits import channels
from knarr.kits.tasks import TaskScope
from knarr.meta.objects import Key
from knarr.meta.remotestatus import exit_code_of
from knarr.resources.core.pod import POD, Pod

_PROTOCOL = "v5.channel.k8s.io"
_MAX_MESSAGE_BYTES = 16 << 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("exec")(execute)


def execute(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="a Service, or a Pod")],
    command: Annotated[list[str], typer.Argument(help="what to run; write it after --")],
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    container: Annotated[str, typer.Option("--container", "-c")] = "",
    *,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="pass the input on")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="give it a terminal")] = False,
) -> None:
    """Run a command in a running replica; its exit code becomes ours.

    Example: knarr exec hello -it -- sh
    """
    target = target_of(context)

    async def body() -> int:
        async with connected(target) as connection:
            pod = await _replica(connection, Key(namespace, name))
            chosen = container or first_container(pod)
        return await _run(target, pod, _query(chosen, command, stdin=stdin, tty=tty))

    with reported():
        code = run(body)
        raise typer.Exit(code)


def _query(container: str, command: list[str], *, stdin: bool, tty: bool) -> list[tuple[str, str]]:
    flags = {"stdin": stdin, "stdout": True, "stderr": not tty, "tty": tty}
    query = [("container", container)]
    query += [(name, "true") for name, wanted in flags.items() if wanted]
    return query + [("command", one) for one in command]


async def _replica(connection: Connection, key: Key) -> Pod:
    """The oldest replica that runs.

    Raises:
        CommandError: there is none now.
        NotFound: neither a Service nor a Pod is called so.
    """
    for pod in await pods_of(connection, key):
        if not pod.deleting and pod.status is not None and pod.status.phase == "Running":
            return pod
    raise CommandError(
        f"{key.name} has no running replica now", "send it a request", ExitCode.NOT_READY
    )


async def _run(target: Target, pod: Pod, query: list[tuple[str, str]]) -> int:
    """Run the session; the exit code."""
    url = f"http://localhost{POD.object_path(pod.key, 'exec')}"
    connector = aiohttp.UnixConnector(str(target.paths.api_socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            socket = await session.ws_connect(
                url, params=query, protocols=(_PROTOCOL,), compress=0,
                max_msg_size=_MAX_MESSAGE_BYTES,
            )  # fmt: skip
        except aiohttp.WSServerHandshakeError as error:
            raise CommandError(
                f"container {query[0][1]} of {pod.metadata.name} takes no command now (HTTP "
                f"{error.status})",
                "knarr get pods",
            ) from error
        except aiohttp.ClientError as error:
            raise CommandError(str(error), "knarr up", ExitCode.NOT_RUNNING) from error
        async with socket:
            return await _converse(socket, dict(query))


async def _converse(socket: aiohttp.ClientWebSocketResponse, query: dict[str, str]) -> int:
    terminal = sys.stdin.fileno() if "tty" in query and sys.stdin.isatty() else -1
    with ExitStack() as stack:
        async with TaskScope() as scope:
            if terminal >= 0:
                changed = asyncio.Event()
                changed.set()
                stack.enter_context(raw_terminal(terminal))
                stack.enter_context(size_changes(changed.set))
                scope.start(_send_sizes(socket, terminal, changed), name="sizes")
            if "stdin" in query:
                scope.start(_send_input(socket), name="input")
            return await _print_output(socket)


async def _send_sizes(
    socket: aiohttp.ClientWebSocketResponse, terminal: int, changed: asyncio.Event
) -> None:
    try:
        while True:
            await changed.wait()
            changed.clear()
            width, height = terminal_size(terminal)
            size = msgspec.json.encode({"Width": width, "Height": height})
            await socket.send_bytes(channels.encode_message(channels.RESIZE, size))
    except (OSError, RuntimeError):
        return  # the command has ended; its status says how


async def _send_input(socket: aiohttp.ClientWebSocketResponse) -> None:
    reader = InputReader(sys.stdin.fileno())
    reader.start()
    try:
        while data := await reader.read():
            await socket.send_bytes(channels.encode_message(channels.STDIN, data))
        await socket.send_bytes(channels.encode_close(channels.STDIN))
    except (OSError, RuntimeError):
        return  # the command has ended; its status says how


async def _print_output(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Copy the output; the exit code at the end.

    Raises:
        CommandError: the session broke off.
    """
    descriptors = {channels.STDOUT: 1, channels.STDERR: 2}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel in descriptors:
            _write(descriptors[channel], data)
        elif channel == channels.ERROR:
            code, text = exit_code_of(data)
            if code is None:
                raise CommandError(text)
            return code
    raise CommandError("the session broke off: the API server or the node agent ended")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
