"""``knarr exec`` without a server: its query, its terminal, its end."""

import asyncio
import os
import pty
import termios

import aiohttp
import pytest

from knarr.cli.exec import _print_output, _query
from knarr.cli.output import CommandError
from knarr.cli.terminal import InputReader, raw_terminal, terminal_size
from knarr.node.console import set_size


def test_a_terminal_has_no_standard_error() -> None:
    assert _query("c", ["sh", "-c"], stdin=True, tty=True) == [
        ("container", "c"), ("stdin", "true"), ("stdout", "true"), ("tty", "true"),
        ("command", "sh"), ("command", "-c"),
    ]  # fmt: skip
    assert ("stderr", "true") in _query("c", ["sh"], stdin=False, tty=False)


class Messages:
    """A WebSocket that says these messages and closes."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = list(messages)

    def __aiter__(self):
        return self

    async def __anext__(self) -> aiohttp.WSMessage:
        if not self._messages:
            raise StopAsyncIteration
        return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, self._messages.pop(0), "")


async def test_output_goes_where_it_belongs_and_the_code_comes_back(capfd) -> None:
    status = (
        b'\3{"status":"Failure","reason":"NonZeroExitCode","message":"m",'
        b'"details":{"causes":[{"reason":"ExitCode","message":"7"}]}}'
    )
    assert await _print_output(Messages(b"\1", b"\1out", b"\2err", b"", status)) == 7
    assert capfd.readouterr() == ("out", "err")


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ((), "broke off"),
        ((b'\3{"status":"Failure","message":"no such command"}',), "no such command"),
    ],
)
async def test_a_session_that_fails_is_an_error(messages, text) -> None:
    with pytest.raises(CommandError, match=text):
        await _print_output(Messages(*messages))


async def test_input_is_read_to_its_end_even_when_nobody_takes_it_at_once() -> None:
    read, write = os.pipe()
    reader = InputReader(read)
    reader.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(_fill, write))
        got = b""
        while block := await reader.read():
            got += block
    assert got == b"x" * 1_000_000
    os.close(read)


def _fill(descriptor: int) -> None:
    with open(descriptor, "wb") as stream:
        stream.write(b"x" * 1_000_000)


def test_raw_mode_ends_with_the_command() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with raw_terminal(slave):
        assert not termios.tcgetattr(slave)[3] & termios.ECHO
    assert termios.tcgetattr(slave) == before
    set_size(master, 132, 50)
    assert terminal_size(slave) == (132, 50)
    os.close(master)
    os.close(slave)
    set_size(master, 1, 1)  # one that is gone is fine
