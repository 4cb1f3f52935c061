"""What a sandbox is and how far it came, on disk.

``record.json`` is written before anything of the sandbox exists; from its values follow the names of
everything that may exist. ``steps`` is the intent log: one line before a step that cannot be repeated and one
after it. Reading both tells an agent that was killed what to finish and what to undo. The page cache survives
the agent, and after a power loss nothing of a sandbox survives, so neither file is synced.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from knarr.node.layout import SandboxPaths

Operation = Literal["begin", "done"]
StepName = Literal[
    "sandbox", "rootfs", "create", "start", "exit", "bind", "image", "remove-container", "remove"
]
CrashPoint = Callable[[str, str], None]
_COMPACT_BYTES = 64 * 1024


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The Pod that a sandbox belongs to; ``uid`` is empty until the Pod object exists."""

    namespace: str
    name: str
    uid: str = ""


class SandboxRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a sandbox is; never changes.

    Attributes:
        id: the replica id.
        index: of its address.
        address: of the pod.
        boot: id of the boot it was made in; none of it survives another.
        created: RFC 3339.
        pod: for whom it is made.
        revision: ``namespace/name`` of the Knative revision, or empty.
        replica_set: uid of the ReplicaSet, or empty.
        fingerprint: of the template and everything it refers to; parked sandboxes with another are stale.
        shared_ipc: an IPC namespace is kept for several containers.
    """

    id: str
    index: int
    address: str
    boot: str
    created: str
    pod: Identity
    revision: str = ""
    replica_set: str = ""
    fingerprint: str = ""
    shared_ipc: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the intent log.

    Attributes:
        container: name of the container concerned, or empty for the sandbox.
        container_id, attempt: which run of it.
        pid, pid_start: of the init process, with ``create`` done.
        at: RFC 3339 with microseconds.
        code, signal, oom: with ``exit`` done.
        image, image_id: with ``create`` begun.
        uid, name: of the Pod, with ``bind`` done.
    """

    op: Operation
    step: StepName
    container: str = ""
    container_id: str = ""
    attempt: int = 0
    pid: int = 0
    pid_start: str = ""
    at: str = ""
    code: int = 0
    signal: int = 0
    oom: bool = False
    image: str = ""
    image_id: str = ""
    uid: str = ""
    name: str = ""


class ContainerTrace(msgspec.Struct, kw_only=True):
    """How far one run of a container came, by the log."""

    name: str
    container_id: str
    attempt: int
    image: str = ""
    image_id: str = ""
    created: bool = False
    started: bool = False
    starting: bool = False
    pid: int = 0
    pid_start: str = ""
    started_at: str = ""
    finished_at: str = ""
    exited: bool = False
    code: int = 0
    signal: int = 0
    oom: bool = False
    removed: bool = False


class Trace(msgspec.Struct, kw_only=True):
    """How far a sandbox came, by the log.

    Attributes:
        ready: every part of the sandbox itself exists.
        removing: its end was decided; only undoing is left.
        bound: the Pod it serves now.
        containers: runs by container id, oldest first.
    """

    ready: bool = False
    removing: bool = False
    bound: Identity | None = None
    containers: dict[str, ContainerTrace] = {}


def read_trace(steps: Iterable[Step], record: SandboxRecord) -> Trace:
    """Fold the log. Pure."""
    trace = Trace(containers={})
    for step in steps:
        if step.container:
            _apply_container(trace, step)
        elif step.step == "sandbox":
            trace.ready = step.op == "done"
        elif step.step == "remove":
            trace.removing = True
        elif step.step == "bind" and step.op == "done":
            namespace = record.pod.namespace
            trace.bound = Identity(namespace=namespace, name=step.name, uid=step.uid)
    return trace


def _apply_container(trace: Trace, step: Step) -> None:
    run = trace.containers.get(step.container_id)
    if run is None:
        run = trace.containers[step.container_id] = ContainerTrace(
            name=step.container, container_id=step.container_id, attempt=step.attempt
        )
    run.image, run.image_id = step.image or run.image, step.image_id or run.image_id
    match step.op, step.step:
        case "done", "create":
            run.created, run.pid, run.pid_start = True, step.pid, step.pid_start
        case "begin", "start":
            run.starting = True
        case "done", "start":
            run.started, run.started_at = True, step.at
        case "done", "exit":
            run.exited, run.finished_at = True, step.at
            run.code, run.signal, run.oom = step.code, step.signal, step.oom
        case "done", "remove-container":
            run.removed = True
        case _:
            pass  # announcements of steps that are simply undone


class StepLog:
    """Appends to a sandbox's intent log; one ``write`` per line, so a line is there or is not."""

    __slots__ = ("_crash_point", "_descriptor", "_encoder", "_path", "_size")

    def __init__(self, path: Path, crash_point: CrashPoint | None = None) -> None:
        self._path = path
        self._crash_point = crash_point
        self._encoder = msgspec.json.Encoder()
        self._descriptor = -1
        self._size = 0

    def write(self, step: Step) -> None:
        """Append one line; with a crash point set, it is called afterwards."""
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size
        self._size += os.write(self._descriptor, self._encoder.encode(step) + b"\n")
        if self._crash_point is not None:
            self._crash_point(step.op, step.step)

    def compact(self, keep: set[str]) -> None:
        """Drop the lines of runs that are over, once the log is long."""
        if self._size < _COMPACT_BYTES:
            return
        steps = [s for s in read_steps(self._path) if not s.container or s.container_id in keep]
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(b"".join(self._encoder.encode(step) + b"\n" for step in steps))
        temporary.replace(self._path)
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_steps(path: Path) -> list[Step]:
    """The lines of an intent log; a torn last line is dropped."""
    decoder = msgspec.json.Decoder(Step)
    steps = []
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            steps.append(decoder.decode(line))
        except msgspec.DecodeError:
            break
    return steps


def write_record(paths: SandboxPaths, record: SandboxRecord) -> None:
    """Write ``record.json``; whole or not at all."""
    paths.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = paths.record.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.replace(paths.record)


def load_record(paths: SandboxPaths) -> SandboxRecord | None:
    """The record of a sandbox; None when it never came that far."""
    try:
        return msgspec.json.decode(paths.record.read_bytes(), type=SandboxRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def boot_id() -> str:
    """The kernel's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
