"""Starting, finding and stopping the processes of one instance."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from knarr.cli.output import CommandError, ExitCode
from knarr.cli.unixhttp import get_tcp, get_unix
from knarr.config import Paths, Settings, read_settings, write_settings
from knarr.kits.clock import Clock
from knarr.supervisor import is_running

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 60.0
PROCESS_NAMES = ("server", "node", "dataplane")
_POLL_S = 0.02


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process as seen from outside."""

    name: str
    pid: int
    ready: bool
    rss_bytes: int


def supervisor_pid(paths: Paths) -> int:
    """The running supervisor's pid, or 0."""
    try:
        pid_text, start = paths.supervisor_pid.read_text(encoding="ascii").split()
        running = is_running(int(pid_text), start)
    except (OSError, ValueError):
        return 0
    return int(pid_text) if running else 0


def running_settings(paths: Paths) -> Settings | None:
    """The settings of the running instance, or None."""
    if not supervisor_pid(paths):
        return None
    try:
        return read_settings(paths.settings)
    except (OSError, msgspec.DecodeError):
        return None


def require_running(paths: Paths) -> Settings:
    """The settings of the running instance.

    Raises:
        CommandError: nothing runs in this data directory.
    """
    settings = running_settings(paths)
    if settings is None:
        raise CommandError(
            f"Knarr is not running in {paths.root}", "knarr up --detach", ExitCode.NOT_RUNNING
        )
    return settings


def process_statuses(settings: Settings) -> tuple[ProcessStatus, ...]:
    """Ask each process whether it is ready."""
    paths = settings.paths
    probes: dict[str, Callable[[], bool]] = {
        "server": lambda: _ok(get_unix(paths.api_socket, "/readyz")),
        "node": lambda: _ok(get_unix(paths.node_socket, "/v1/status")),
        "dataplane": lambda: _ok(get_tcp("127.0.0.1", settings.metrics_port, "/readyz")),
    }
    return tuple(
        ProcessStatus(
            name=name, pid=(pid := _pid_of(paths, name)), ready=probe(), rss_bytes=_rss(pid)
        )
        for name, probe in probes.items()
    )


def _ok(reply: object) -> bool:
    return getattr(reply, "status", 0) == 200


def _pid_of(paths: Paths, name: str) -> int:
    try:
        return int((paths.run / f"{name}.pid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _rss(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def process_commands(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The command line of each process."""
    paths = settings.paths
    python = sys.executable
    return {
        "server": (python, "-m", "knarr.server", "--settings", str(paths.settings)),
        "node": (python, "-m", "knarr.node.process", "--settings", str(paths.settings)),
        "dataplane": (python, "-m", "knarr.dataplane.process", "--config", str(paths.dataplane_config)),
    }  # fmt: skip


def dataplane_config(settings: Settings) -> dict[str, object]:
    """What ``knarr.dataplane.process`` reads."""
    paths = settings.paths
    external = [f"{settings.http_address}:{settings.http_port}"]
    if settings.http_address == "127.0.0.1" and Path("/proc/net/if_inet6").exists():
        external.append(f"[::1]:{settings.http_port}")
    return {
        "gateway": "gateway-0",
        "external_listen": external,
        "local_listen": [f"{settings.pod_gateway}:80"],
        "metrics_listen": f"127.0.0.1:{settings.metrics_port}",
        "server_socket": str(paths.dataplane_socket),
        "activate_socket": str(paths.activate_socket),
        "access_log": str(paths.logs / "access.log"),
        "worker_threads": settings.worker_threads or (os.cpu_count() or 1),
        "drain_deadline_s": 30,
    }


def check_ports(settings: Settings) -> None:
    """Refuse to start on a port that somebody else holds.

    Raises:
        CommandError: names the port and the flag that moves it.
    """
    for address, port, flag in (
        (settings.http_address, settings.http_port, "--http-port"),
        (settings.api_address, settings.api_port, "--api-port"),
        ("127.0.0.1", settings.metrics_port, "--metrics-port"),
    ):
        probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                raise CommandError(
                    f"cannot listen on {address}:{port}: {error.strerror}",
                    f"end the program that holds the port (ss -ltnp 'sport = :{port}'), or choose another: "
                    f"knarr up {flag} PORT",
                ) from error


def start(settings: Settings) -> int:
    """Start the supervisor in a session of its own; its pid."""
    paths = settings.paths
    for directory in (paths.run, paths.logs):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths.failure.unlink(missing_ok=True)
    write_settings(settings)
    paths.dataplane_config.write_bytes(msgspec.json.encode(dataplane_config(settings)))
    paths.processes.write_bytes(msgspec.json.encode(process_commands(settings)))
    log = paths.logs / "supervisor.log"
    return os.posix_spawn(
        sys.executable,
        (sys.executable, "-m", "knarr.supervisor", str(paths.root)),
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def wait_ready(
    settings: Settings, clock: Clock, progress: Callable[[tuple[ProcessStatus, ...]], None]
) -> None:
    """Wait until all three processes answer.

    Raises:
        CommandError: one of them gave up, or the deadline passed; the text carries its last words.
    """
    paths = settings.paths
    deadline = clock.monotonic() + START_DEADLINE_S
    while True:
        statuses = process_statuses(settings)
        progress(statuses)
        if all(status.ready for status in statuses):
            return
        if paths.failure.exists():
            raise CommandError(paths.failure.read_text(encoding="utf-8").strip(), "knarr doctor")
        if clock.monotonic() > deadline:
            waiting = ", ".join(status.name for status in statuses if not status.ready)
            raise CommandError(
                f"{waiting} not ready after {START_DEADLINE_S:.0f} s",
                f"look into {paths.logs}",
                ExitCode.TIMEOUT,
            )
        signal.sigtimedwait((), _POLL_S)


def stop(paths: Paths, clock: Clock) -> bool:
    """End the supervisor and its processes; whether one was running.

    Raises:
        CommandError: it did not end in time.
    """
    pid = supervisor_pid(paths)
    if not pid:
        return False
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        deadline = clock.monotonic() + STOP_DEADLINE_S
        while supervisor_pid(paths) == pid:
            if clock.monotonic() > deadline:
                raise CommandError(f"the supervisor {pid} did not end", f"kill -9 {pid}")
            signal.sigtimedwait((), _POLL_S)
    finally:
        os.close(handle)
    return True
