"""A command in a running container, with its streams in our hands."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from knarr.node.console import ConsoleSocket, set_size
from knarr.node.exits import ExitRecords, Process, start_time_of
from knarr.node.runc import Begin, Runc
from knarr.node.sessions.leftovers import parent_and_session
from knarr.node.sessions.pipes import PipeReader, PipeWriter

_HANGUP_S = 2.0


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """What to run, and which streams somebody is interested in; a terminal has no standard error."""

    container_id: str
    command: tuple[str, ...]
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Command:
    """An async context manager: the command runs inside it, and nothing of it afterwards.

    Args:
        request: what to run.
        runtime: of the container.
        exits: where statuses of adopted processes come from.
        directory: for the runtime's files; made and removed.
        processes: the pids in the container now.
        starts: bounds how many commands are started at the same time.

    Attributes:
        outputs: by channel-like name, ``stdout`` and ``stderr``; with a terminal only ``stdout``.
        stdin: None when nobody wanted it.
    """

    def __init__(
        self,
        request: CommandRequest,
        runtime: Runc,
        exits: ExitRecords,
        directory: Path,
        processes: Callable[[], set[int]],
        starts: asyncio.Semaphore,
    ) -> None:
        self._request = request
        self._runtime = runtime
        self._exits = exits
        self._directory = directory
        self._processes = processes
        self._starts = starts
        self._terminal = -1
        self._process: Process | None = None
        self.outputs: dict[str, PipeReader] = {}
        self.stdin: PipeWriter | None = None

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            RuncError: it cannot be started; the text is the runtime's.
        """
        self._directory.mkdir(parents=True)
        start = self._start_in_terminal if self._request.tty else self._start_with_pipes
        try:
            async with self._starts:
                pid = await start()
        except BaseException:
            self._close()
            raise
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._process = Process(pid, start_time_of(pid), self._exits)
        self._process.watch(lambda: None)
        return self

    async def _start_in_terminal(self) -> int:
        request = self._request
        with ExitStack() as stack:
            nothing = _nothing(stack)
            console = stack.enter_context(ConsoleSocket(self._directory / "console"))
            begin = Begin(self._directory, nothing, nothing, nothing, console.path)
            pid = await self._runtime.execute_detached(request.container_id, request.command, begin)
            self._terminal = console.receive()
        if request.stdout:
            self.outputs["stdout"] = PipeReader(os.dup(self._terminal))
        if request.stdin:
            self.stdin = PipeWriter(os.dup(self._terminal))
        return pid

    async def _start_with_pipes(self) -> int:
        request = self._request
        with ExitStack() as stack:
            nothing = _nothing(stack)
            stdin = nothing
            if request.stdin:
                stdin, ours = _pipe(stack, writing=False)
                self.stdin = PipeWriter(ours)
            theirs = {"stdout": nothing, "stderr": nothing}
            for name, wanted in (("stdout", request.stdout), ("stderr", request.stderr)):
                if wanted:
                    theirs[name], ours = _pipe(stack, writing=True)
                    self.outputs[name] = PipeReader(ours)
            begin = Begin(self._directory, stdin, theirs["stdout"], theirs["stderr"])
            try:
                return await self._runtime.execute_detached(
                    request.container_id, request.command, begin
                )
            except BaseException:
                # What the runtime said itself is in its log; it is no output of the command.
                self.outputs.clear()
                raise

    async def wait(self) -> int:
        """The exit code, once it has ended; 128 and the signal's number for a signal."""
        process = self._started()
        await process.ended.wait()
        assert process.exit is not None
        return process.exit.code

    def resize(self, width: int, height: int) -> None:
        """Tell the terminal its size, in characters; nothing happens without one."""
        if self._terminal >= 0:
            set_size(self._terminal, width, height)

    async def end_input(self) -> None:
        """The command's input ends; a terminal's does not, as nobody hung up."""
        if self.stdin is not None and not self._request.tty:
            self.stdin.close()
            self.stdin = None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up: its streams close, SIGHUP for it and its children, SIGKILL for what is left in 2 s."""
        self._close()
        process = self._started()
        if process.exit is not None:
            return
        self._signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(_HANGUP_S):
                await process.ended.wait()
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
        await process.ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        """Signal every process of the command's session; daemons have left it on purpose."""
        leader = self._started().pid
        for pid in self._processes():
            found = parent_and_session(pid)
            if found is not None and found[1] == leader:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue

    def _started(self) -> Process:
        assert self._process is not None, "entered"
        return self._process

    def _close(self) -> None:
        for output in self.outputs.values():
            output.close()
        if self.stdin is not None:
            self.stdin.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1


def _nothing(stack: ExitStack) -> int:
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _pipe(stack: ExitStack, *, writing: bool) -> tuple[int, int]:
    """The command's end, closed with the stack, and ours. The container's user may reopen its end."""
    read, write = os.pipe2(os.O_CLOEXEC)
    theirs, ours = (write, read) if writing else (read, write)
    stack.callback(os.close, theirs)
    os.fchmod(theirs, 0o666)
    return theirs, ours
