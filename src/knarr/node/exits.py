"""How containers' processes end: wait statuses of children, of adopted processes, and of lost ones.

The agent is a subreaper, so the init processes it makes are its children. Those that it finds again after a
restart belong to the supervisor, which leaves their wait status in ``run/exits/<pid>-<starttime>``; until it
has done so the zombie tells, and on newer kernels the pidfd afterwards.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from knarr.node import syscalls

_RECORD_TRIES = 40
_RECORD_PAUSE_S = 0.05
UNKNOWN_EXIT_CODE = 137


def start_time_of(pid: int) -> str:
    """Field 22 of ``/proc/<pid>/stat``: with the pid it names a process for ever.

    Raises:
        ProcessLookupError: it is gone.
    """
    return _stat_fields(pid)[19]


def _stat_fields(pid: int) -> list[str]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    return stat.rpartition(")")[2].split()


def zombie_status(pid: int, start_time: str) -> int | None:
    """The wait status of an ended process that its parent has not collected yet (stat field 52)."""
    try:
        fields = _stat_fields(pid)
    except ProcessLookupError:
        return None
    if fields[19] != start_time or fields[0] != "Z":
        return None
    return int(fields[49])


def ends_by_default(pid: int, number: signal.Signals) -> bool:
    """Whether the process leaves a signal to its default action.

    The first process of a PID namespace does not even get such a signal, so who wants it to act as anywhere
    else has to send SIGKILL.
    """
    bit = 1 << (number - 1)
    masks = {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name in masks:
            masks[name] = int(value, 16)
    return not any(mask & bit for mask in masks.values())


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended; ``known`` is False when nobody saw it.

    Attributes:
        code: as Kubernetes writes it: 128 plus the signal's number for a signal.
        signal: 0 when it exited by itself.
    """

    code: int
    signal: int = 0
    known: bool = True


def decode_status(status: int | None) -> Exit:
    """A wait status as wait(2) encodes it; None for one that nobody saw."""
    if status is None:
        return Exit(UNKNOWN_EXIT_CODE, known=False)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return Exit(128 + number, number)
    return Exit(os.WEXITSTATUS(status))


class ExitRecords(Protocol):
    """Where statuses of adopted processes come from."""

    def take(self, pid: int, start_time: str) -> int | None:
        """The wait status, once; None when there is none (yet)."""
        ...


@dataclass(frozen=True, slots=True)
class ExitDirectory:
    """The supervisor's ``run/exits``."""

    directory: Path

    def take(self, pid: int, start_time: str) -> int | None:
        """The wait status, once; None when there is none (yet)."""
        path = self.directory / f"{pid}-{start_time}"
        try:
            text = path.read_text(encoding="ascii")
            path.unlink()
        except OSError:
            return None
        return int(text) if text.strip().lstrip("-").isdigit() else None


class Process:
    """A handle of one process that neither a reused pid nor another parent can mislead.

    Attributes:
        pid, start_time: which process.
        ended: set once ``exit`` is there.
        watched: somebody is told about the end.
    """

    __slots__ = (
        "_descriptor",
        "_records",
        "_settled",
        "ended",
        "exit",
        "pid",
        "start_time",
        "watched",
    )

    def __init__(self, pid: int, start_time: str, records: ExitRecords) -> None:
        self.pid = pid
        self.start_time = start_time
        self.exit: Exit | None = None
        self.ended = asyncio.Event()
        self._records = records
        self._settled = False
        self.watched = False
        self._descriptor = _open(pid, start_time)

    def watch(self, on_end: Callable[[], None]) -> None:
        """Have ``on_end`` called once, from the event loop, when the process has ended."""
        self.watched = True
        loop = asyncio.get_running_loop()
        if self._descriptor < 0:
            self._settle(self._records.take(self.pid, self.start_time), on_end)
            return
        loop.add_reader(self._descriptor, self._readable, on_end)

    def _readable(self, on_end: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._descriptor)
        self._collect(on_end, _RECORD_TRIES)

    def _collect(self, on_end: Callable[[], None], tries: int) -> None:
        if self._descriptor < 0:
            return
        status = _reap(self._descriptor)
        if status is None:
            status = zombie_status(self.pid, self.start_time)
        if status is None:
            status = syscalls.exit_status_of(self._descriptor)
        if status is None:
            status = self._records.take(self.pid, self.start_time)
        if status is None and tries:
            # The supervisor was woken at the same moment as we; its record is a matter of milliseconds.
            loop = asyncio.get_running_loop()
            loop.call_later(_RECORD_PAUSE_S, self._collect, on_end, tries - 1)
            return
        self._settle(status, on_end)

    def _settle(self, status: int | None, on_end: Callable[[], None]) -> None:
        self.close()
        if self._settled:
            return
        self._settled = True
        self.exit = decode_status(status)
        self.ended.set()
        on_end()

    def send(self, number: signal.Signals) -> bool:
        """Signal the process; False when it is gone."""
        if self._descriptor < 0:
            return False
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Give the handle up; the process goes on."""
        if self._descriptor < 0:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


def _open(pid: int, start_time: str) -> int:
    """A pidfd of that very process, -1 when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return -1
    try:
        if start_time_of(pid) == start_time:
            return descriptor
    except ProcessLookupError:
        pass
    os.close(descriptor)
    return -1


def _reap(descriptor: int) -> int | None:
    """The wait status of a child; None when it is another's or runs."""
    try:
        result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return result.si_status << 8
    return result.si_status


class Orphans:
    """Reaps what containers leave to the agent as a subreaper and nobody waits for.

    A helper of the runtime that was killed can leave a process behind. A zombie seen in two sweeps in a row
    that is not one of ``spared`` is collected.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def sweep(self, spared: Callable[[int], bool]) -> int:
        """One round; how many were collected."""
        zombies = {pid for pid in _children() if _is_zombie(pid) and not spared(pid)}
        collected = 0
        for pid in zombies & self._seen:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            collected += 1
        self._seen = zombies - self._seen
        return collected


def _children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def _is_zombie(pid: int) -> bool:
    try:
        return _stat_fields(pid)[0] == "Z"
    except ProcessLookupError:
        return False
