"""The only place of the node agent that starts programs."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knarr.meta.errors import KnarrError

MAX_OUTPUT_BYTES = 1024 * 1024
_TAIL_BYTES = 2048


class ProgramError(KnarrError):
    """A program ended badly.

    Attributes:
        argv: what was run.
        code: exit status, negative for a signal, 127 when it is not installed.
        tail: the last of what it said.
    """

    def __init__(self, argv: Sequence[str], code: int, tail: str) -> None:
        super().__init__(f"{' '.join(argv[:4])}: exit {code}: {tail.strip() or 'no output'}")
        self.argv = tuple(argv)
        self.code = code
        self.tail = tail


@dataclass(frozen=True, slots=True)
class Output:
    """What a program left; ``stdout`` is cut at ``MAX_OUTPUT_BYTES``."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str], *, data: bytes | None = None, timeout_s: float = 60.0, check: bool = True
) -> Output:
    """Run a program to its end.

    Args:
        argv: program and arguments; no shell is involved.
        data: standard input, else empty.
        timeout_s: after which it is killed.
        check: raise on a status other than 0.

    Raises:
        ProgramError: it failed, is missing, or took too long. Cancellation kills it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise ProgramError(argv, 127, f"{argv[0]} is not installed") from error
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate(data)
    except TimeoutError as error:
        raise ProgramError(argv, -9, f"no end within {timeout_s:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    code = process.returncode or 0
    if check and code:
        raise ProgramError(argv, code, stderr[-_TAIL_BYTES:].decode(errors="replace"))
    return Output(code, stdout[:MAX_OUTPUT_BYTES], stderr[-_TAIL_BYTES:])


async def run_attached(
    argv: Sequence[str],
    *,
    stdout: int,
    stderr: int,
    environment: Mapping[str, str],
    stdin: int | None = None,
    timeout_s: float = 60.0,
) -> int:
    """Run a program whose children keep the descriptors; its exit status, negative for a signal.

    Started by ``posix_spawn``: the event loop's own way copies this process' page tables, which takes longer
    than everything else here together.

    Raises:
        ProgramError: it is missing or took too long. Cancellation kills it.
    """
    pid = _spawn(argv, stdin, stdout, stderr, environment)
    handle = os.pidfd_open(pid)
    try:
        async with asyncio.timeout(timeout_s):
            await _ended(handle)
    except TimeoutError as error:
        raise ProgramError(argv, -9, f"no end within {timeout_s:.0f} s") from error
    finally:
        # Killing what has ended does nothing; otherwise the wait is a matter of moments.
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
        code = _collect(pid)
    return code


def _spawn(
    argv: Sequence[str],
    stdin: int | None,
    stdout: int,
    stderr: int,
    environment: Mapping[str, str],
) -> int:
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    try:
        return os.posix_spawnp(
            argv[0],
            list(argv),
            environment,
            file_actions=(
                nothing if stdin is None else (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ),
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    except FileNotFoundError as error:
        raise ProgramError(argv, 127, f"{argv[0]} is not installed") from error


def _collect(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


async def _ended(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(handle, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(handle)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def run_blocking(argv: Sequence[str], *, data: bytes = b"", timeout_s: float = 60.0) -> Output:
    """As ``run``, for the command line, which has no event loop; never raises on a status."""
    try:
        done = subprocess.run(argv, input=data, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603 - fixed programs
    except FileNotFoundError:
        return Output(127, b"", f"{argv[0]} is not installed".encode())
    except subprocess.TimeoutExpired:
        return Output(-9, b"", f"no end within {timeout_s:.0f} s".encode())
    return Output(done.returncode, done.stdout[:MAX_OUTPUT_BYTES], done.stderr[-_TAIL_BYTES:])
