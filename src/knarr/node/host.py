"""Makes and removes whole sandboxes on this machine.

Removal is idempotent and works from the record alone, whatever exists of the sandbox; so undoing a
half-made one and ending a running one are the same thing.
"""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from knarr.kits.clock import Clock, format_timestamp
from knarr.node.addresses import AddressPool
from knarr.node.launch import Launcher, drop_subpaths
from knarr.node.layout import Layout, SandboxPaths
from knarr.node.namespaces import create_namespaces, drop_namespace, id_base
from knarr.node.network import Network
from knarr.node.overlay import unmount_rootfs
from knarr.node.record import (
    CrashPoint,
    Identity,
    SandboxRecord,
    Step,
    StepLog,
    write_record,
)
from knarr.node.sandbox import Sandbox
from knarr.node.threads import in_thread, settled
from knarr.node.volumefiles import Owner, drop_volume, make_volume
from knarr.node.volumes import Files, VolumeContent

_TRAVERSABLE = 0o711


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """What a sandbox is made from; see ``SandboxRecord`` for the fields that it shares with that."""

    identity: Identity
    revision: str = ""
    replica_set: str = ""
    fingerprint: str = ""
    shared_ipc: bool = False
    fs_group: int | None = None
    volumes: Mapping[str, VolumeContent] = field(default_factory=dict)


@dataclass(slots=True)
class SandboxHost:
    """Makes and removes sandboxes.

    Attributes:
        sandboxes: all that exist, by id, those included that are being removed.
        crash_point: for tests: called after each line of an intent log.
    """

    layout: Layout
    network: Network
    addresses: AddressPool
    launcher: Launcher
    clock: Clock
    rng: random.Random
    crash_point: CrashPoint | None = None
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the directories that everything else is put into. Idempotent."""
        for path in (self.layout.runtime, self.layout.mounts, self.layout.runtime_state):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(_TRAVERSABLE)
        for path in (self.layout.node, self.layout.sandboxes, self.layout.node / "logs"):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)

    def plan(self, request: SandboxRequest) -> Sandbox:
        """Give a sandbox its id and address and record both; nothing else exists yet.

        Raises:
            AddressesExhausted: too many sandboxes.
        """
        index = self.addresses.take()
        record = SandboxRecord(
            id=f"{self.rng.getrandbits(64):016x}",
            index=index,
            address=self.addresses.address(index),
            boot=self.launcher.machine.boot,
            created=format_timestamp(self.clock.wall()),
            pod=request.identity,
            revision=request.revision,
            replica_set=request.replica_set,
            fingerprint=request.fingerprint,
            shared_ipc=request.shared_ipc,
        )
        paths = self.layout.sandbox(record.id)
        write_record(paths, record)
        return self._hold(record, paths, request.identity)

    def _hold(self, record: SandboxRecord, paths: SandboxPaths, identity: Identity) -> Sandbox:
        sandbox = Sandbox(record, paths, StepLog(paths.steps, self.crash_point), identity)
        self.sandboxes[record.id] = sandbox
        return sandbox

    def recall(self, record: SandboxRecord, identity: Identity) -> Sandbox:
        """Hold a sandbox that an earlier agent made; its address is taken from now on."""
        self.addresses.claim(record.index)
        return self._hold(record, self.layout.sandbox(record.id), identity)

    @asynccontextmanager
    async def realise(self, sandbox: Sandbox, request: SandboxRequest) -> AsyncIterator[None]:
        """Make namespaces, volumes and network of a planned sandbox.

        Within the context containers can be created; the network is there when it is left.

        Raises:
            OSError: the machine refused; ``remove`` undoes what was made.
        """
        sandbox.log.write(Step(op="begin", step="sandbox"))
        await in_thread(lambda: self._make(sandbox, request))
        connecting = asyncio.get_running_loop().run_in_executor(None, self._connect, sandbox)
        try:
            yield
        finally:
            await settled(connecting)
            failure = connecting.exception()
        if failure is not None:
            raise failure
        sandbox.log.write(Step(op="done", step="sandbox"))

    def _connect(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        self.network.attach(record.index, record.address, sandbox.paths.network_namespace)

    def _make(self, sandbox: Sandbox, request: SandboxRequest) -> None:
        paths, record = sandbox.paths, sandbox.record
        base = id_base(record.index)
        paths.mounts.mkdir(parents=True)
        paths.mounts.chmod(_TRAVERSABLE)
        (paths.mounts / "rootfs").mkdir(mode=_TRAVERSABLE)
        create_namespaces(
            user=paths.user_namespace,
            network=paths.network_namespace,
            ipc=paths.ipc_namespace if record.shared_ipc else None,
            base=base,
        )
        owner = Owner(base, base + request.fs_group if request.fs_group else base)
        for name, content in request.volumes.items():
            make_volume(paths.volume(name, in_memory=isinstance(content, Files)), content, owner)

    def bind(self, sandbox: Sandbox, identity: Identity) -> None:
        """From now on the sandbox serves this Pod."""
        sandbox.log.write(Step(op="done", step="bind", uid=identity.uid, name=identity.name))
        sandbox.identity = identity

    async def remove(self, sandbox: Sandbox, *, keep_logs: bool = False) -> None:
        """End everything of a sandbox and remove every trace. Idempotent; safe to cancel and repeat.

        Raises:
            StartFailed: a process cannot be ended; the sandbox stays as it is.
        """
        sandbox.removing = True
        if sandbox.paths.directory.exists():
            sandbox.log.write(Step(op="begin", step="remove"))
        for run in (*sandbox.runs.values(), *sandbox.previous.values()):
            await self.launcher.remove(sandbox, run)
        await self.launcher.kill(sandbox, "")
        await in_thread(lambda: self._unmake(sandbox.paths, sandbox.record))
        sandbox.log.close()
        if not keep_logs:
            shutil.rmtree(sandbox.paths.logs, ignore_errors=True)
        shutil.rmtree(sandbox.paths.directory, ignore_errors=True)
        self.sandboxes.pop(sandbox.id, None)
        self.addresses.release(sandbox.record.index)

    def _unmake(self, paths: SandboxPaths, record: SandboxRecord) -> None:
        launcher = self.launcher
        for container_id in launcher.runtime.known():
            if container_id.startswith(f"{record.id}-"):
                launcher.runtime.forget(container_id)
        launcher.machine.cgroups.remove(f"/{self.layout.instance}/{record.id}")
        if record.boot == launcher.machine.boot:
            self.network.detach(record.index)
        drop_mounts(paths)
        shutil.rmtree(paths.mounts, ignore_errors=True)


def drop_mounts(paths: SandboxPaths) -> None:
    """Unmount everything below a sandbox's directories. Idempotent."""
    containers = paths.directory / "containers"
    for one in containers.iterdir() if containers.is_dir() else ():
        unmount_rootfs(paths.container(one.name))
        drop_subpaths(paths, one.name)
    for folder in (paths.volumes, paths.memory_volumes):
        for volume in folder.iterdir() if folder.is_dir() else ():
            drop_volume(volume)
    for namespace in (paths.network_namespace, paths.user_namespace, paths.ipc_namespace):
        drop_namespace(namespace)
