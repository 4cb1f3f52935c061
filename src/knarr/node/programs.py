"""The only place of the node agent that starts programs."""

import asyncio
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
    timeout_s: float = 60.0,
) -> int:
    """Run a program whose children keep the two descriptors; its exit status.

    Raises:
        ProgramError: it is missing or took too long. Cancellation kills it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment
        )
    except FileNotFoundError as error:
        raise ProgramError(argv, 127, f"{argv[0]} is not installed") from error
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    except TimeoutError as error:
        raise ProgramError(argv, -9, f"no end within {timeout_s:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def run_blocking(argv: Sequence[str], *, data: bytes = b"", timeout_s: float = 60.0) -> Output:
    """As ``run``, for the command line, which has no event loop; never raises on a status."""
    try:
        done = subprocess.run(argv, input=data, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603 - fixed programs
    except FileNotFoundError:
        return Output(127, b"", f"{argv[0]} is not installed".encode())
    except subprocess.TimeoutExpired:
        return Output(-9, b"", f"no end within {timeout_s:.0f} s".encode())
    return Output(done.returncode, done.stdout[:MAX_OUTPUT_BYTES], done.stderr[-_TAIL_BYTES:])
