"""Sandboxes as the agent holds them in memory: identity, runs of containers, what is known of each."""

from dataclasses import dataclass, field

from knarr.node.console import Console
from knarr.node.exits import Exit, Process
from knarr.node.layout import ContainerPaths, SandboxPaths
from knarr.node.logs import LogPump
from knarr.node.record import Identity, SandboxRecord, StepLog


@dataclass(slots=True)
class ContainerRun:
    """One run of one container.

    Attributes:
        attempt: 0 for the first run.
        image, image_id: as asked for, and with the digest.
        stop_signal: of the image, empty for SIGTERM.
        process: its init process, once created.
        started_at, finished_at: RFC 3339 with microseconds, empty before.
        exit: how it ended.
        oom: the kernel killed it for want of memory.
        console: its terminal or standard input, when it has one.
        kill_reason: why we ended it, for events; empty when it ended by itself.
    """

    name: str
    container_id: str
    attempt: int
    paths: ContainerPaths
    pump: LogPump
    image: str = ""
    image_id: str = ""
    stop_signal: str = ""
    process: Process | None = None
    started_at: str = ""
    finished_at: str = ""
    exit: Exit | None = None
    oom: bool = False
    message: str = ""
    console: Console | None = None

    @property
    def terminal(self) -> int:
        """The held side of its terminal, -1 when it has none."""
        console = self.console
        return console.descriptor if console is not None and console.terminal else -1

    @property
    def running(self) -> bool:
        """Started and not ended."""
        return bool(self.started_at) and self.exit is None

    @property
    def parked(self) -> bool:
        """Created, not started, alive."""
        return self.process is not None and not self.started_at and self.exit is None


@dataclass(slots=True)
class Sandbox:
    """A sandbox of this machine.

    Attributes:
        identity: the Pod it serves; changes when a parked sandbox gets its Pod.
        runs: the current run of each container by name.
        previous: the run before, for ``kubectl logs -p`` and ``lastState``.
        removing: its end was decided.
        connected: namespaces and network exist.
    """

    record: SandboxRecord
    paths: SandboxPaths
    log: StepLog
    identity: Identity
    runs: dict[str, ContainerRun] = field(default_factory=dict)
    previous: dict[str, ContainerRun] = field(default_factory=dict)
    removing: bool = False
    connected: bool = False

    @property
    def id(self) -> str:
        """The replica id."""
        return self.record.id

    @property
    def address(self) -> str:
        """The pod's."""
        return self.record.address

    @property
    def started(self) -> bool:
        """Whether any container was started: such a sandbox cannot be parked again."""
        return any(run.started_at for run in (*self.runs.values(), *self.previous.values()))
