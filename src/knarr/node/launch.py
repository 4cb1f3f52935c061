"""One container of a sandbox: made, started, ended, removed.

Every step that cannot be repeated is announced in the sandbox's intent log before it is taken.
"""

import asyncio
import os
import select
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from knarr.kits.clock import Clock, format_micro_timestamp
from knarr.meta.errors import KnarrError
from knarr.node import overlay
from knarr.node.bundle import Bind, ContainerConfig, NamespacePaths, oci_config
from knarr.node.console import Console, ConsoleSocket, Interaction, make_stdin
from knarr.node.containers import settle_identity
from knarr.node.exits import ExitRecords, Process, decode_status, start_time_of
from knarr.node.keeping import Keeping
from knarr.node.layout import ContainerPaths, Layout
from knarr.node.logs import LogFile, LogPump, Rotation, Stdio, make_stdio
from knarr.node.machine import Machine
from knarr.node.namespaces import id_base
from knarr.node.record import ContainerTrace, Step
from knarr.node.rootfiles import (
    ContainerRequest,
    drop_subpaths,
    message_bind,
    volume_binds,
    with_groups,
    write_system_files,
)
from knarr.node.runc import Runc
from knarr.node.sandbox import ContainerRun, Sandbox
from knarr.node.sessions.leftovers import end_leftovers
from knarr.node.threads import in_thread
from knarr.node.users import Identity, read_databases, resolve_identity

_RELEASE_TIMEOUT_S = 5.0
_QUICK_RELEASE_MS = 5
_KILL_TIMEOUT_S = 10.0


class StartFailed(KnarrError):
    """The container's process could not be started (``RunContainerError``)."""


@dataclass(slots=True)
class Launcher:
    """Makes, starts and removes containers.

    Attributes:
        gateway: address of the pod gateway, the containers' resolver.
        seccomp: the default profile.
    """

    layout: Layout
    runtime: Runc
    machine: Machine
    clock: Clock
    exits: ExitRecords
    gateway: str
    seccomp: Mapping[str, Any]
    rotation: Rotation = field(default_factory=Rotation)

    # --- making -----------------------------------------------------------------------------------

    async def create(self, sandbox: Sandbox, request: ContainerRequest) -> ContainerRun:
        """Make a container that waits to be started; it becomes the sandbox's current run.

        Raises:
            BadContainer, UnknownUser, UnsafeRootfs: the request cannot be realised.
            RuncError, OSError: the machine refused. What was made is removed by ``remove``.
        """
        container_id = f"{sandbox.id}-{request.name}-{request.attempt}"
        run = self._new_run(sandbox, request.name, container_id, request.attempt)
        run.image, run.image_id = request.image, request.image_id
        run.stop_signal = request.stop_signal
        former = sandbox.runs.get(request.name)
        if former is not None:
            sandbox.previous[request.name] = former
        sandbox.runs[request.name] = run
        self._log(sandbox, run, "begin", "rootfs")
        await in_thread(lambda: self._make_bundle(sandbox, run, request))
        self._log(sandbox, run, "begin", "create", image=request.image, image_id=request.image_id)
        stdio = make_stdio(run.paths)
        try:
            pid = await self._make_process(run, request.interaction, stdio)
        finally:
            stdio.close()
        run.process = Process(pid, start_time_of(pid), self.exits)
        self._log(sandbox, run, "done", "create", pid=pid, pid_start=run.process.start_time)
        return run

    async def _make_process(self, run: ContainerRun, interaction: Interaction, stdio: Stdio) -> int:
        """The pid of a container that waits to be started, its console held."""
        create = partial(
            self.runtime.create,
            run.container_id, run.paths, stdout=stdio.stdout, stderr=stdio.stderr,
        )  # fmt: skip
        if not interaction.any:
            return await create()
        document = msgspec.json.encode(interaction)
        run.paths.console.write_bytes(document)
        if not interaction.tty:
            theirs, ours = make_stdin(run.paths)
            run.console = Console(interaction, ours)
            try:
                pid = await create(stdin=theirs)
            finally:
                os.close(theirs)
        else:
            with ConsoleSocket(self.layout.sessions / f"{run.container_id[-40:]}.sock") as console:
                pid = await create(console=console.path)
                run.console = Console(interaction, console.receive())
        held = run.console.descriptor
        await in_thread(lambda: self.keeping.put(run.container_id, held))
        return pid

    @property
    def keeping(self) -> Keeping:
        """Who holds consoles while no agent runs."""
        return Keeping(self.layout.keeper_socket)

    def close_console(self, run: ContainerRun) -> None:
        """The container's input ends, or its terminal is gone. Idempotent."""
        if run.console is not None and run.console.descriptor >= 0:
            run.console.close()
            self.keeping.drop(run.container_id)

    def _recall_console(self, run: ContainerRun) -> None:
        try:
            interaction = msgspec.json.decode(run.paths.console.read_bytes(), type=Interaction)
        except FileNotFoundError:
            return
        descriptor = self.keeping.get(run.container_id)
        run.console = Console(interaction, -1 if descriptor is None else descriptor)

    def _new_run(
        self, sandbox: Sandbox, name: str, container_id: str, attempt: int
    ) -> ContainerRun:
        file = LogFile(sandbox.paths.log(name, attempt), self.rotation)
        return ContainerRun(
            name, container_id, attempt, sandbox.paths.container(container_id),
            LogPump(file, self.clock),
        )  # fmt: skip

    def _make_bundle(self, sandbox: Sandbox, run: ContainerRun, request: ContainerRequest) -> None:
        base = id_base(sandbox.record.index)
        run.paths.bundle.mkdir(parents=True)
        write_system_files(run.paths, sandbox, request, self.gateway, base)
        overlay.mount_rootfs(
            run.paths, request.lower_dirs, user_namespace=sandbox.paths.user_namespace, base=base
        )
        plan = request.process
        passwd, group = read_databases(run.paths.rootfs)
        identity = settle_identity(
            plan,
            resolve_identity(
                plan.user, passwd, group,
                run_as_user=plan.run_as_user, run_as_group=plan.run_as_group,
            ),
        )  # fmt: skip
        config = self._config(sandbox, run, request, with_groups(identity, request))
        document = msgspec.json.encode(oci_config(config))
        (run.paths.bundle / "config.json").write_bytes(document)

    def _config(
        self, sandbox: Sandbox, run: ContainerRun, request: ContainerRequest, identity: Identity
    ) -> ContainerConfig:
        plan = request.process
        binds = [Bind(source, target, read_only=True) for source, target in request.host_binds]
        binds += volume_binds(sandbox, run, request)
        binds += message_bind(run.paths, request, id_base(sandbox.record.index))
        shared_ipc = sandbox.record.shared_ipc
        return ContainerConfig(
            hostname=request.hostname,
            rootfs=str(run.paths.rootfs),
            arguments=plan.arguments,
            environment=plan.environment,
            working_dir=plan.working_dir,
            identity=identity,
            id_base=id_base(sandbox.record.index),
            namespaces=NamespacePaths(
                user=str(sandbox.paths.user_namespace),
                network=str(sandbox.paths.network_namespace),
                ipc=str(sandbox.paths.ipc_namespace) if shared_ipc else "",
            ),
            cgroup_path=self.cgroup_path(sandbox, run.container_id),
            limits=request.limits,
            binds=tuple(binds),
            capabilities=plan.capabilities,
            seccomp=self.seccomp if plan.confined else None,
            read_only_rootfs=plan.read_only_rootfs,
            oom_score_adj=request.oom_score_adj,
            unified_cgroups=self.machine.cgroups.unified,
            no_new_privileges=plan.no_new_privileges,
            open_files=self.machine.open_files,
            terminal=request.interaction.tty,
        )

    def cgroup_path(self, sandbox: Sandbox, container_id: str = "") -> str:
        """The cgroup of a sandbox or of one of its containers, absolute in every hierarchy."""
        path = f"/{self.layout.instance}/{sandbox.id}"
        return f"{path}/{container_id}" if container_id else path

    # --- starting ---------------------------------------------------------------------------------

    async def start(self, sandbox: Sandbox, run: ContainerRun) -> None:
        """Let a created container run; output and end are watched from here on.

        Opens the runtime's FIFO instead of calling the runtime: the init process writes one byte to it and
        becomes the application.

        Raises:
            StartFailed: the init process is gone.
        """
        fifo = self.runtime.exec_fifo(run.container_id)
        self._log(sandbox, run, "begin", "start")
        # First: what a program says is lost when it ends before anybody has opened the other side.
        run.pump.start(run.paths, run.terminal)
        try:
            descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise StartFailed(f"container {run.name} was not waiting to be started") from error
        try:
            await _wait_readable(descriptor)
        except TimeoutError as error:
            raise StartFailed(f"container {run.name} did not start") from error
        finally:
            os.close(descriptor)
        fifo.unlink(missing_ok=True)
        run.started_at = format_micro_timestamp(self.clock.wall())
        self._log(sandbox, run, "done", "start", at=run.started_at)

    # --- ending -----------------------------------------------------------------------------------

    def record_exit(self, sandbox: Sandbox, run: ContainerRun) -> None:
        """The init process has ended: take the rest of its output and say why it ended."""
        if run.process is None or run.exit is not None:
            return
        run.exit = run.process.exit or decode_status(None)
        run.finished_at = format_micro_timestamp(self.clock.wall())
        memory = self.machine.cgroups.memory(self.cgroup_path(sandbox, run.container_id))
        run.oom = memory.oom_kills > 0 and run.exit.signal == signal.SIGKILL
        run.pump.finish()
        self.close_console(run)
        self._log(
            sandbox, run, "done", "exit",
            at=run.finished_at, code=run.exit.code, signal=run.exit.signal, oom=run.oom,
        )  # fmt: skip

    async def remove(self, sandbox: Sandbox, run: ContainerRun) -> None:
        """Kill a container and remove everything of it but its log. Idempotent."""
        if sandbox.paths.directory.exists():
            self._log(sandbox, run, "begin", "remove-container")
        await self.kill(sandbox, run.container_id)
        if run.process is not None:
            if run.exit is None and run.started_at:
                run.pump.finish()
            run.process.close()
        run.pump.close()
        self.close_console(run)
        await in_thread(lambda: self._remove_files(sandbox, run.container_id, run.paths))
        if sandbox.paths.directory.exists():
            self._log(sandbox, run, "done", "remove-container")

    def drop_log(self, sandbox: Sandbox, run: ContainerRun) -> None:
        """Remove the log of a run, rotated files included. Idempotent."""
        path = sandbox.paths.log(run.name, run.attempt)
        for one in path.parent.glob(f"{path.name}*") if path.parent.is_dir() else ():
            one.unlink()

    async def kill(self, sandbox: Sandbox, container_id: str) -> None:
        """End every process of a container and wait until they are gone.

        Raises:
            StartFailed: some process cannot be ended (it hangs in the kernel).
        """
        path = self.cgroup_path(sandbox, container_id)
        deadline = self.clock.monotonic() + _KILL_TIMEOUT_S
        pause_s = 0.001
        while processes := self.machine.cgroups.processes(path):
            for pid in processes:
                _kill_quietly(pid)
            if self.clock.monotonic() > deadline:
                raise StartFailed(f"processes {sorted(processes)} of {container_id} do not end")
            await asyncio.sleep(pause_s)
            pause_s = min(0.05, pause_s * 2)

    def _remove_files(self, sandbox: Sandbox, container_id: str, paths: ContainerPaths) -> None:
        self.machine.cgroups.remove(self.cgroup_path(sandbox, container_id))
        self.runtime.forget(container_id)
        overlay.unmount_rootfs(paths)
        drop_subpaths(sandbox.paths, container_id)
        shutil.rmtree(paths.directory, ignore_errors=True)

    # --- finding again ----------------------------------------------------------------------------

    def adopt(self, sandbox: Sandbox, trace: ContainerTrace) -> ContainerRun:
        """The run that an earlier agent made, from its trace; nothing is changed."""
        run = self._new_run(sandbox, trace.name, trace.container_id, trace.attempt)
        run.image, run.image_id = trace.image, trace.image_id
        run.started_at = trace.started_at
        if trace.exited:
            run.exit = decode_status(trace.signal or trace.code << 8)
            run.finished_at, run.oom = trace.finished_at, trace.oom
        elif trace.created:
            run.process = Process(trace.pid, trace.pid_start, self.exits)
            waiting = self.runtime.exec_fifo(trace.container_id).exists()
            if not run.started_at and trace.starting and not waiting:
                run.started_at = format_micro_timestamp(self.clock.wall())
                self._log(sandbox, run, "done", "start", at=run.started_at)
            self._recall_console(run)
            if run.started_at:
                group = self.cgroup_path(sandbox, run.container_id)
                end_leftovers(self.machine.cgroups.processes(group), trace.pid)
                run.pump.start(run.paths, run.terminal)
        return run

    def _log(self, sandbox: Sandbox, run: ContainerRun, op: Any, step: Any, **facts: Any) -> None:
        sandbox.log.write(
            Step(
                op=op, step=step, container=run.name, container_id=run.container_id,
                attempt=run.attempt, **facts,
            )
        )  # fmt: skip


async def _wait_readable(descriptor: int) -> None:
    """Until the FIFO holds its byte; usually at once, so the loop's machinery comes second.

    Raises:
        TimeoutError: nobody wrote.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if poll.poll(_QUICK_RELEASE_MS):
        os.read(descriptor, 1)
        return
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ready)
    try:
        async with asyncio.timeout(_RELEASE_TIMEOUT_S):
            await ready
    finally:
        loop.remove_reader(descriptor)
    os.read(descriptor, 1)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _kill_quietly(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
