"""Exec: a link joined with a command."""

import asyncio
from functools import partial

import msgspec

from knarr.kits import channels
from knarr.meta.errors import StatusError, status_body
from knarr.meta.remotestatus import exit_status
from knarr.node.programs import ProgramError
from knarr.node.sessions.commands import Command
from knarr.node.sessions.link import Link
from knarr.node.sessions.pipes import PipeReader
from knarr.node.sessions.racing import first_of
from knarr.node.sessions.sizes import parse_size

CHANNELS = {"stdout": channels.STDOUT, "stderr": channels.STDERR}


async def run_command(link: Link, command: Command) -> None:
    """Run the command to its end, or until the server is gone."""
    try:
        async with command:
            await first_of(
                partial(_until_exit, link, command), partial(_input, link, command), link.keep_alive
            )
    except ProgramError as error:
        text = f"error executing command in container: {error.tail or error}"
        failure = status_body(StatusError(text))
        await link.send(channels.ERROR, msgspec.json.encode(failure))


async def _until_exit(link: Link, command: Command) -> None:
    """Pass the output on. What was written before the end arrives; a child that goes on is not waited for."""
    async with asyncio.TaskGroup() as group:
        copies = [
            group.create_task(_copy(link, CHANNELS[name], output))
            for name, output in command.outputs.items()
        ]
        code = await command.wait()
        for copy in copies:
            copy.cancel()
    for name, output in command.outputs.items():
        while data := output.read_now():
            await link.send(CHANNELS[name], data)
    await link.send(channels.ERROR, msgspec.json.encode(exit_status(code)))


async def _copy(link: Link, channel: int, output: PipeReader) -> None:
    while data := await output.read():
        await link.send(channel, data)


async def _input(link: Link, command: Command) -> None:
    """Returns when the server ends the session."""
    while (message := await link.receive()) is not None:
        channel, data = message
        if channel == channels.STDIN and command.stdin is not None:
            await command.stdin.write(data)
        elif channel == channels.RESIZE:
            size = parse_size(data)
            if size is not None:
                command.resize(*size)
        elif channel == channels.CLOSE:
            await command.end_input()
