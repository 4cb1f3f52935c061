"""Makes and removes whole sandboxes on this machine.

Removal is idempotent and works from the record alone, whatever exists of the sandbox; so undoing a
half-made one and ending a running one are the same thing.
"""

import asyncio
import logging
import os
import random
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from knarr.kits.clock import Clock, format_timestamp
from knarr.node.addresses import AddressPool
from knarr.node.claims import ClaimedDirectory
from knarr.node.launch import Launcher
from knarr.node.layout import Layout, SandboxPaths
from knarr.node.namespaces import create_namespaces, drop_namespace, id_base
from knarr.node.network import Network
from knarr.node.overlay import unmount_rootfs
from knarr.node.persistent import attach, detach
from knarr.node.record import (
    CrashPoint,
    Identity,
    SandboxRecord,
    Step,
    StepLog,
    write_record,
)
from knarr.node.rootfiles import drop_subpaths
from knarr.node.sandbox import Sandbox
from knarr.node.threads import in_thread, settled
from knarr.node.volumefiles import Owner, drop_volume, make_volume
from knarr.node.volumes import Files, VolumeContent

LOG = logging.getLogger(__name__)
_TRAVERSABLE = 0o711
_PRIVATE = 0o700
_SPARE_DELAY_S = 0.5


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


_NOBODY = SandboxRequest(Identity(namespace="", name=""))


@dataclass(slots=True)
class SandboxHost:
    """Makes and removes sandboxes.

    Attributes:
        sandboxes: all that exist, by id, those included that are being removed.
        spares: namespaces and networks without a Pod; they cost most of the time that is not the runtime's.
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
    spares: list[Sandbox] = field(default_factory=list)
    spare_taken: asyncio.Event = field(default_factory=asyncio.Event)

    def prepare(self) -> None:
        """Make the directories that everything else is put into. Idempotent."""
        for path in (self.layout.runtime, self.layout.mounts, self.layout.runtime_state):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(_TRAVERSABLE)
        for path in (self.layout.node, self.layout.sandboxes, self.layout.node / "logs"):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)

    def plan(self, request: SandboxRequest) -> Sandbox:
        """Give a sandbox its id and address and record both; a spare brings its own.

        Raises:
            AddressesExhausted: too many sandboxes.
        """
        sandbox = self.spares.pop() if self.spares and not request.shared_ipc else None
        if sandbox is None:
            sandbox = self._plan(request)
        else:
            sandbox.record = self._record(request, sandbox.id, sandbox.record.index)
            sandbox.identity = request.identity
            write_record(sandbox.paths, sandbox.record)
            self.spare_taken.set()
        self.sandboxes[sandbox.id] = sandbox
        return sandbox

    def _plan(self, request: SandboxRequest) -> Sandbox:
        index = self.addresses.take()
        record = self._record(request, f"{self.rng.getrandbits(64):016x}", index)
        paths = self.layout.sandbox(record.id)
        write_record(paths, record)
        return self._sandbox(record, request.identity)

    def _record(self, request: SandboxRequest, identifier: str, index: int) -> SandboxRecord:
        return SandboxRecord(
            id=identifier,
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

    def _sandbox(self, record: SandboxRecord, identity: Identity) -> Sandbox:
        paths = self.layout.sandbox(record.id)
        return Sandbox(record, paths, StepLog(paths.steps, self.crash_point), identity)

    async def keep_spares(self, count: int) -> None:
        """Keep namespaces and networks ready for sandboxes to come, until cancelled.

        A spare that is taken is replaced when the start that took it is over. What is left of spares when the
        agent ends is undone by the next one: their log says that they are not whole.
        """
        while True:
            while len(self.spares) < count:
                sandbox = self._plan(_NOBODY)
                sandbox.log.write(Step(op="begin", step="sandbox"))
                try:
                    await in_thread(lambda: self._make_namespaces(sandbox))  # noqa: B023 - awaited
                    await in_thread(lambda: self._connect(sandbox))  # noqa: B023 - awaited
                except OSError as error:
                    LOG.warning("a spare sandbox cannot be made: %s", error)
                    await self.remove(sandbox)
                    break
                self.spares.append(sandbox)
            self.spare_taken.clear()
            await self.spare_taken.wait()
            await asyncio.sleep(_SPARE_DELAY_S)

    def recall(self, record: SandboxRecord, identity: Identity) -> Sandbox:
        """Hold a sandbox that an earlier agent made; its address is taken from now on."""
        self.addresses.claim(record.index)
        sandbox = self.sandboxes[record.id] = self._sandbox(record, identity)
        return sandbox

    @asynccontextmanager
    async def realise(self, sandbox: Sandbox, request: SandboxRequest) -> AsyncIterator[None]:
        """Make namespaces, volumes and network of a planned sandbox.

        Within the context containers can be created; the network is there when it is left.

        Raises:
            OSError: the machine refused; ``remove`` undoes what was made.
        """
        if sandbox.connected:
            await in_thread(lambda: self._make_volumes(sandbox, request))
            yield
        else:
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
        sandbox.connected = True

    def _make(self, sandbox: Sandbox, request: SandboxRequest) -> None:
        self._make_namespaces(sandbox)
        self._make_volumes(sandbox, request)

    def _make_namespaces(self, sandbox: Sandbox) -> None:
        paths, record = sandbox.paths, sandbox.record
        paths.mounts.mkdir(parents=True)
        paths.mounts.chmod(_TRAVERSABLE)
        (paths.mounts / "rootfs").mkdir(mode=_TRAVERSABLE)
        create_namespaces(
            user=paths.user_namespace,
            network=paths.network_namespace,
            ipc=paths.ipc_namespace if record.shared_ipc else None,
            base=id_base(record.index),
        )

    def _make_volumes(self, sandbox: Sandbox, request: SandboxRequest) -> None:
        base = id_base(sandbox.record.index)
        owner = Owner(base, base + request.fs_group if request.fs_group else base)
        # What is above is open to everybody, for the sake of root file systems; tokens and Secrets are not.
        private = sandbox.paths.memory_volumes
        private.mkdir(parents=True, exist_ok=True)
        os.chown(private, base, base)
        private.chmod(_PRIVATE)
        for name, content in request.volumes.items():
            if isinstance(content, ClaimedDirectory):
                attach(
                    content.path,
                    sandbox.paths.claims / name,
                    user_namespace=sandbox.paths.user_namespace,
                    read_only=content.read_only,
                    group=request.fs_group,
                )
                continue
            directory = sandbox.paths.volume(name, in_memory=isinstance(content, Files))
            make_volume(directory, content, owner)

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
    for claim in paths.claims.iterdir() if paths.claims.is_dir() else ():
        detach(claim)
    for namespace in (paths.network_namespace, paths.user_namespace, paths.ipc_namespace):
        drop_namespace(namespace)
