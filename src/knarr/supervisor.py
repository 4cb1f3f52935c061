"""The supervisor: starts server, node agent and data plane, restarts one that ends, reaps orphans.

Deliberately small and synchronous: it must never fail, and its memory is paid by every user. It is the
children's subreaper, so a container whose node agent was killed becomes its child; its wait status is
written to ``run/exits/<pid>-<starttime>`` for the agent to read when it is back.

A process that exits with ``EX_CONFIG`` (78) cannot be helped by a restart: the supervisor stops the others
and leaves the last lines of its log in ``run/failure``.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

STOP_DEADLINE_S = 45.0
MAX_LOG_BYTES = 10 * 1024 * 1024
LOG_CHECK_S = 30.0
MAX_EXITS = 8192
_PR_SET_CHILD_SUBREAPER = 36
_FAILURE_TAIL_BYTES = 4096


def restart_delay_s(quick_failures: int) -> float:
    """How long to wait before the next start: none at first, then doubling from 0.1 s to 5 s."""
    return 0.0 if quick_failures == 0 else min(5.0, 0.1 * 2.0 ** (quick_failures - 1))


@dataclass(slots=True)
class Child:
    """One supervised process.

    Attributes:
        argv: command line.
        pid: of the running process, 0 when there is none.
        started: monotonic seconds of the last start.
        quick_failures: how often in a row it lived less than ten seconds.
        due: monotonic seconds of the next start when ``pid`` is 0.
    """

    name: str
    argv: tuple[str, ...]
    pid: int = 0
    started: float = 0.0
    quick_failures: int = 0
    due: float = 0.0

    def ended(self, now: float) -> None:
        """Record an exit and decide when to start again."""
        self.quick_failures = self.quick_failures + 1 if now - self.started < 10.0 else 0
        self.pid = 0
        self.due = now + restart_delay_s(self.quick_failures)


def start_time_of(pid: int) -> str:
    """Field 22 of ``/proc/<pid>/stat``: with the pid it names a process for ever."""
    return _stat_fields(pid)[19]


def is_running(pid: int, start_time: str) -> bool:
    """Whether that very process is alive (a zombie is not)."""
    try:
        fields = _stat_fields(pid)
    except OSError:
        return False
    return fields[19] == start_time and fields[0] != "Z"


def _stat_fields(pid: int) -> list[str]:
    """Fields 3 and following: the name before them may contain anything."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return stat.rpartition(")")[2].split()


def _allow_descriptors() -> None:
    """As many open files as the machine permits: each connection, watch and session takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def forget_oldest(directory: Path, keep: int) -> int:
    """Remove all but the newest files; how many there are then.

    Most records are of processes that nobody asks about, and a container's is read within seconds of its
    agent's return.
    """
    files = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for path in files[: max(0, len(files) - keep)]:
        path.unlink(missing_ok=True)
    return min(len(files), keep)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)


@dataclass(slots=True)
class Supervisor:
    """Keeps the children of one instance running until it is told to stop."""

    root: Path
    children: list[Child]
    monotonic: Callable[[], float]
    stopping: bool = False
    deadline: float = 0.0
    log_check: float = 0.0
    exits: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def run(self) -> int:
        """Supervise until every child has ended after SIGTERM; the exit status."""
        signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        (self.root / "run" / "exits").mkdir(parents=True, exist_ok=True)
        _allow_descriptors()
        failed = False
        while True:
            self._start_due()
            received = signal.sigtimedwait(signals, self._pause_s())
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            failed = self._reap() or failed
            self._rotate_logs()
            if self.stopping and not any(child.pid for child in self.children):
                return os.EX_CONFIG if failed else 0
            if self.stopping and self.monotonic() > self.deadline:
                self._signal_all(signal.SIGKILL)

    def _pause_s(self) -> float:
        if self.stopping:
            return 1.0
        due = [child.due - self.monotonic() for child in self.children if not child.pid]
        return max(0.0, min([*due, LOG_CHECK_S]))

    def _start_due(self) -> None:
        for child in self.children:
            if not self.stopping and not child.pid and child.due <= self.monotonic():
                self._start(child)

    def _start(self, child: Child) -> None:
        log = self.root / "logs" / f"{child.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        child.pid = os.posix_spawn(
            child.argv[0],
            child.argv,
            self.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsigmask=(),
            setpgroup=0,
        )
        child.started = self.monotonic()
        _write_atomically(self.root / "run" / f"{child.name}.pid", f"{child.pid}\n")

    def _reap(self) -> bool:
        """Collect every ended child; whether one of them asked not to be restarted."""
        failed = False
        while True:
            try:
                # Peek first: the start time is readable only while the zombie is there.
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return failed
            if info is None:
                return failed
            child = next((one for one in self.children if one.pid == info.si_pid), None)
            start = start_time_of(info.si_pid) if child is None else ""
            _, status = os.waitpid(info.si_pid, 0)
            if child is None:
                self._record_exit(info.si_pid, start, status)
            else:
                failed = self._child_ended(child, status) or failed

    def _record_exit(self, pid: int, start: str, status: int) -> None:
        exits = self.root / "run" / "exits"
        _write_atomically(exits / f"{pid}-{start}", f"{status}\n")
        self.exits += 1
        if self.exits > MAX_EXITS:
            self.exits = forget_oldest(exits, MAX_EXITS // 2)

    def _child_ended(self, child: Child, status: int) -> bool:
        code = os.waitstatus_to_exitcode(status)
        child.ended(self.monotonic())
        if self.stopping:
            return False
        sys.stderr.write(f"knarr {child.name} ended with {code}\n")
        if code != os.EX_CONFIG:
            return False
        log = self.root / "logs" / f"{child.name}.log"
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _FAILURE_TAIL_BYTES))
            tail = stream.read().decode(errors="replace").strip().splitlines()
        reason = next((line for line in reversed(tail) if line.strip()), f"exit {code}")
        (self.root / "run" / "failure").write_text(f"{child.name}: {reason}\n", encoding="utf-8")
        self._stop()
        return True

    def _stop(self) -> None:
        if not self.stopping:
            self.stopping = True
            self.deadline = self.monotonic() + STOP_DEADLINE_S
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self.children:
            if child.pid:
                os.kill(child.pid, number)

    def _rotate_logs(self) -> None:
        """Keep each log under 10 MiB, with one predecessor; writers append, so truncating is safe."""
        if self.monotonic() < self.log_check:
            return
        self.log_check = self.monotonic() + LOG_CHECK_S
        for log in (self.root / "logs").glob("*.log"):
            if log.stat().st_size > MAX_LOG_BYTES:
                log.with_suffix(".log.1").write_bytes(log.read_bytes())
                os.truncate(log, 0)


def main(argv: list[str]) -> int:
    """``python -m knarr.supervisor DATA_DIR``: runs in a session of its own.

    ``<data>/run/processes.json`` maps each child's name to its command line.
    """
    root = Path(argv[0])
    pid_file = root / "run" / "supervisor.pid"
    pid_file.write_text(f"{os.getpid()} {start_time_of(os.getpid())}\n", encoding="ascii")
    commands = json.loads((root / "run" / "processes.json").read_bytes())
    supervisor = Supervisor(
        root=root,
        children=[Child(name, tuple(command)) for name, command in commands.items()],
        monotonic=time.monotonic,
        environment=dict(os.environ),
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
