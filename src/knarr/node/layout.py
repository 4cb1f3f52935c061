"""Where the node agent keeps things, on disk and in the kernel's name spaces.

Two roots: ``<data>/node`` holds what has bytes (records, bundles, writable layers, volumes, logs);
``/run/<instance>`` holds mount points and the OCI runtime's state. The second is traversable by everyone
because a container's root, an ordinary user outside, must reach its own root file system.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

RUNTIME_PARENT = Path("/run")


@dataclass(frozen=True, slots=True)
class ContainerPaths:
    """Files of one run of one container.

    Attributes:
        directory: everything with bytes.
        rootfs: where the overlay is mounted.
    """

    directory: Path
    rootfs: Path

    @property
    def bundle(self) -> Path:
        """The OCI bundle: ``config.json``."""
        return self.directory / "bundle"

    @property
    def upper(self) -> Path:
        """The writable layer."""
        return self.directory / "upper"

    @property
    def work(self) -> Path:
        """Overlayfs' scratch directory, on the same file system as ``upper``."""
        return self.directory / "work"

    @property
    def stdin(self) -> Path:
        """FIFO, when the container has a standard input."""
        return self.directory / "stdin"

    @property
    def console(self) -> Path:
        """What the container's console is, when it has one."""
        return self.directory / "console.json"

    @property
    def stdout(self) -> Path:
        """FIFO."""
        return self.directory / "stdout"

    @property
    def stderr(self) -> Path:
        """FIFO."""
        return self.directory / "stderr"

    @property
    def runtime_log(self) -> Path:
        """What the OCI runtime says about this container."""
        return self.directory / "runtime.log"

    @property
    def message(self) -> Path:
        """The application's last words."""
        return self.directory / "message"

    @property
    def pid_file(self) -> Path:
        """Written by the OCI runtime once the init process exists."""
        return self.directory / "pid"


@dataclass(frozen=True, slots=True)
class SandboxPaths:
    """Files of one sandbox."""

    identifier: str
    directory: Path
    mounts: Path
    logs: Path

    @property
    def record(self) -> Path:
        """What the sandbox is; written before anything of it exists."""
        return self.directory / "record.json"

    @property
    def steps(self) -> Path:
        """The intent log: one line before and one after each step."""
        return self.directory / "steps"

    @property
    def network_namespace(self) -> Path:
        """Bind mount that keeps the network namespace."""
        return self.mounts / "net"

    @property
    def user_namespace(self) -> Path:
        """Bind mount that keeps the user namespace."""
        return self.mounts / "user"

    @property
    def ipc_namespace(self) -> Path:
        """Bind mount that keeps the IPC namespace, when several containers share it."""
        return self.mounts / "ipc"

    @property
    def volumes(self) -> Path:
        """One directory per scratch volume."""
        return self.directory / "volumes"

    @property
    def memory_volumes(self) -> Path:
        """One directory per volume of files: on ``/run``, so that secrets do not reach a disk."""
        return self.mounts / "volumes"

    @property
    def claims(self) -> Path:
        """One mount point per ``persistentVolumeClaim`` volume."""
        return self.mounts / "claims"

    def volume(self, name: str, *, in_memory: bool) -> Path:
        """The directory of one volume."""
        return (self.memory_volumes if in_memory else self.volumes) / name

    def container(self, container_id: str) -> ContainerPaths:
        """Files of one run of a container of this sandbox."""
        return ContainerPaths(
            directory=self.directory / "containers" / container_id,
            rootfs=self.mounts / "rootfs" / container_id,
        )

    def log(self, container: str, attempt: int) -> Path:
        """The log file of one run of a container."""
        return self.logs / container / f"{attempt}.log"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths and names of one instance.

    Attributes:
        data_dir: the instance's data directory.
        instance: the name that everything outside of it carries.
    """

    data_dir: Path
    instance: str

    @property
    def node(self) -> Path:
        """Root of what has bytes."""
        return self.data_dir / "node"

    @property
    def sandboxes(self) -> Path:
        """One directory per sandbox."""
        return self.node / "sandboxes"

    @property
    def persistent_volumes(self) -> Path:
        """One directory per PersistentVolume; they stay when the instance goes down."""
        return self.node / "persistent-volumes"

    @property
    def runtime(self) -> Path:
        """Root of mount points."""
        return RUNTIME_PARENT / self.instance

    @property
    def mounts(self) -> Path:
        """Mount points, one directory per sandbox."""
        return self.runtime / "sandboxes"

    @property
    def runtime_state(self) -> Path:
        """The OCI runtime's ``--root``."""
        return self.runtime / "runtime"

    @property
    def keeper_socket(self) -> Path:
        """Of the program that holds consoles while the agent is away."""
        return self.runtime / "keeper.sock"

    @property
    def sessions(self) -> Path:
        """What commands in containers need while they are started, and their runtime's words."""
        return self.runtime / "sessions"

    @property
    def network_state(self) -> Path:
        """Which network is barred while the instance runs."""
        return self.node / "network.json"

    @property
    def link_prefix(self) -> str:
        """Start of the names of our interfaces; they have at most 15 characters in all."""
        digest = hashlib.sha256(self.instance.encode()).hexdigest()[:6]
        return "knarr" if self.instance == "knarr" else f"kn{digest}"

    def sandbox(self, identifier: str) -> SandboxPaths:
        """Files of one sandbox."""
        return SandboxPaths(
            identifier=identifier,
            directory=self.sandboxes / identifier,
            mounts=self.mounts / identifier,
            logs=self.node / "logs" / identifier,
        )
