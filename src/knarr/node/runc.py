"""The OCI runtime as a program, for the verbs that need it: create and exec.

Starting is opening the runtime's FIFO, and removing is killing, then dropping cgroups and the state
directory: neither pays for a program, and both work on what a killed runtime left half-made.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from knarr.node import programs
from knarr.node.environment import DEFAULT_PATH
from knarr.node.layout import ContainerPaths
from knarr.node.programs import ProgramError

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_FIXED_IN: Mapping[tuple[int, int], int] = {(1, 3): 6, (1, 4): 3}
_ENVIRONMENT = {"PATH": DEFAULT_PATH, "GOGC": "off"}
"""The runtime lives for 30 ms; collecting garbage meanwhile is wasted (42 and 39 ms, within noise)."""
_SAFE_FROM = (1, 5, 0)
_MISSING_FIXES: tuple[tuple[tuple[int, int, int], str], ...] = (
    ((1, 1, 12), "CVE-2024-21626 (leaked descriptors; Debian 12 has a back-port)"),
    ((1, 2, 8), "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 (masked paths and console races)"),
    (_SAFE_FROM, "CVE-2026-41579"),
)


class RuncError(ProgramError):
    """The OCI runtime refused; ``tail`` is the last line of its log."""


class _LogLine(msgspec.Struct, frozen=True):
    level: str = ""
    msg: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """Which runtime this is and what it lacks.

    Attributes:
        text: as it calls itself.
        missing: fixes of known escapes that this version does not have.
    """

    text: str
    missing: tuple[str, ...] = ()


def judge_version(text: str) -> RuntimeVersion:
    """Read the first line of ``--version`` and list the fixes that are missing. Pure."""
    first = text.strip().splitlines()[0] if text.strip() else "unknown"
    match = _VERSION.search(first)
    if not first.startswith("runc") or match is None:
        return RuntimeVersion(first)
    version = (int(match[1]), int(match[2]), int(match[3]))
    fixed = _FIXED_IN.get(version[:2])
    if version >= _SAFE_FROM or (fixed is not None and version[2] >= fixed):
        return RuntimeVersion(first)
    missing = tuple(what for since, what in _MISSING_FIXES if version < since)
    return RuntimeVersion(first, missing)


@dataclass(frozen=True, slots=True)
class Runc:
    """Calls to the OCI runtime.

    Attributes:
        program: its name or path.
        root: where it keeps its state, on a path that containers' roots may traverse.
    """

    program: str
    root: Path

    def _argv(self, *rest: str, log: Path | None = None) -> tuple[str, ...]:
        logging = ("--log", str(log), "--log-format", "json") if log else ()
        return (self.program, "--root", str(self.root), *logging, *rest)

    async def version(self) -> RuntimeVersion:
        """What the runtime is.

        Raises:
            ProgramError: it is not installed.
        """
        output = await programs.run((self.program, "--version"), timeout_s=10)
        return judge_version(output.stdout.decode(errors="replace"))

    async def create(
        self,
        container_id: str,
        paths: ContainerPaths,
        *,
        stdout: int,
        stderr: int,
        stdin: int | None = None,
        console: Path | None = None,
    ) -> int:
        """Make a container that waits to be started.

        Args:
            container_id: unique in this root.
            paths: ``bundle`` holds ``config.json``.
            stdout: descriptor that becomes the container's.
            stderr: likewise.
            stdin: likewise; None for an empty one.
            console: socket for the terminal, when the bundle asks for one; the descriptors are not used
                then.

        Returns:
            The pid of its init process, a child of the nearest subreaper.

        Raises:
            RuncError: with what the runtime logged.
        """
        argv = self._argv(
            "create", "--bundle", str(paths.bundle), "--pid-file", str(paths.pid_file),
            *_console_flags(console), container_id,
            log=paths.runtime_log,
        )  # fmt: skip
        code = await programs.run_attached(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, environment=_ENVIRONMENT
        )
        if code:
            raise RuncError(argv, code, _last_error(paths.runtime_log))
        return int(paths.pid_file.read_text(encoding="ascii"))

    async def execute(
        self, container_id: str, command: Sequence[str], *, timeout_s: float
    ) -> programs.Output:
        """Run a command inside a container, as its user.

        Raises:
            ProgramError: no end within ``timeout_s``.
        """
        argv = self._argv("exec", container_id, *command)
        return await programs.run(argv, timeout_s=timeout_s, check=False)

    async def execute_detached(
        self, container_id: str, command: Sequence[str], begin: "Begin"
    ) -> int:
        """Start a command inside a container, as its user, and leave it running.

        Returns:
            Its pid; a child of the nearest subreaper, the leader of a session of its own.

        Raises:
            RuncError: with what the runtime logged.
        """
        log, pid_file = begin.directory / "log", begin.directory / "pid"
        terminal = (*_console_flags(begin.console), "--tty", "--env", "TERM=xterm")
        argv = self._argv(
            "exec", "--detach", "--pid-file", str(pid_file),
            *(terminal if begin.console else ()), container_id, *command,
            log=log,
        )  # fmt: skip
        code = await programs.run_attached(
            argv, stdin=begin.stdin, stdout=begin.stdout, stderr=begin.stderr,
            environment=_ENVIRONMENT,
        )  # fmt: skip
        if code:
            raise RuncError(argv, code, _last_error(log))
        return int(pid_file.read_text(encoding="ascii"))

    def exec_fifo(self, container_id: str) -> Path:
        """The FIFO behind which a created container waits; it exists until the container is started."""
        return self.root / container_id / "exec.fifo"

    def forget(self, container_id: str) -> bool:
        """Drop the runtime's state of a container whose processes and cgroups are gone. Idempotent."""
        state = self.root / container_id
        existed = state.is_dir()
        shutil.rmtree(state, ignore_errors=True)
        return existed

    def known(self) -> tuple[str, ...]:
        """Every container that has state here."""
        if not self.root.is_dir():
            return ()
        return tuple(sorted(one.name for one in self.root.iterdir() if one.is_dir()))


@dataclass(frozen=True, slots=True)
class Begin:
    """What a command starts with.

    Attributes:
        directory: exists, for the runtime's files.
        stdin, stdout, stderr: descriptors that become its own.
        console: socket for its terminal; the descriptors are not used then.
    """

    directory: Path
    stdin: int
    stdout: int
    stderr: int
    console: Path | None = None


def _console_flags(console: Path | None) -> tuple[str, ...]:
    return ("--console-socket", str(console)) if console is not None else ()


def _last_error(log: Path) -> str:
    try:
        lines = log.read_bytes()[-8192:].splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = msgspec.json.decode(line, type=_LogLine)
        except msgspec.DecodeError:
            continue
        if entry.level in ("error", "fatal"):
            return entry.msg
    return ""
