"""Keeps one container of a Pod as its spec says: makes, starts, probes, restarts it."""

import asyncio
import datetime as dt

from knarr.kits.clock import parse_timestamp
from knarr.kits.tasks import TaskScope
from knarr.node.building import container_request
from knarr.node.bundle import BadContainer
from knarr.node.launch import StartFailed
from knarr.node.logreading import tail_of
from knarr.node.overlay import UnsafeRootfs
from knarr.node.podcontext import PodContext
from knarr.node.podstatus import ContainerView, terminated_state
from knarr.node.probes import Judge, ProbeKind, schedule_of
from knarr.node.probing import run_probe
from knarr.node.pulling import obtain_image
from knarr.node.restarts import CrashHistory, should_restart
from knarr.node.rootfiles import read_message
from knarr.node.runc import RuncError
from knarr.node.sandbox import ContainerRun, Sandbox
from knarr.node.stopping import executor, stop_container
from knarr.node.users import UnknownUser
from knarr.resources.core.container import (
    Container,
    ContainerStateTerminated,
    ContainerStateWaiting,
    Probe,
)

_CONFIG_RETRY_S = 10.0
_START_ERROR_CODE = 128
_MESSAGE_LINES, _MESSAGE_BYTES = 80, 2048
_MIN_BACKOFF_SHOWN_S = 1.0


class ContainerWorker:
    """The life of one container; ``run`` ends when it need not be run again."""

    def __init__(self, context: PodContext, container: Container, *, init: bool = False) -> None:
        self._context = context
        self._container = container
        self._init = init
        self._view = context.view(container)
        self._history = CrashHistory()
        self._attempt = 0
        self._config_changed = asyncio.Event()

    def config_changed(self) -> None:
        """A ConfigMap or Secret that the container may read has changed: try at once if it waits."""
        self._config_changed.set()

    @property
    def _sandbox(self) -> Sandbox:
        sandbox = self._context.sandbox
        assert sandbox is not None, "containers are run after their sandbox is made"
        return sandbox

    async def run(self) -> None:
        """Run the container until its policy says that it is done."""
        run = self._adopt()
        while True:
            if run is None:
                run = await self._make()
            if run is not None and (run.exit is not None or await self._start(run)):
                await self._supervise(run)
                self._show_end(run)
            code = self._view.code or 0
            if not should_restart(self._context.spec.restart_policy, code, init=self._init):
                self._changed()
                return
            await self._back_off()
            self._attempt += 1
            run = None

    # --- one run ------------------------------------------------------------------------------------

    def _adopt(self) -> ContainerRun | None:
        """A run that exists already: of an earlier agent, or parked."""
        run = self._sandbox.runs.get(self._container.name)
        if run is None:
            return None
        self._attempt = run.attempt
        self._history.crashes = min(run.attempt, 6)
        self._show_identity(run)
        previous = self._sandbox.previous.get(self._container.name)
        if previous is not None and previous.exit is not None:
            self._view.last = _ended_state(self._container, previous)
        return run

    async def _make(self) -> ContainerRun | None:
        """A created container; None when its process cannot even be made (shown as an end)."""
        view = self._view
        view.waiting = view.waiting or ContainerStateWaiting(reason="ContainerCreating")
        self._changed()
        while True:
            self._config_changed.clear()
            try:
                return await self._make_once()
            except (BadContainer, UnknownUser, UnsafeRootfs) as error:
                self._wait_for("CreateContainerConfigError", str(error))
            except (RuncError, OSError) as error:
                text = error.tail if isinstance(error, RuncError) else str(error)
                self._show_start_error(text)
                return None
            await self._pause(_CONFIG_RETRY_S)

    async def _make_once(self) -> ContainerRun:
        context, services = self._context, self._context.services
        image, layers = await obtain_image(
            services, context.pod, self._container, self._show_waiting
        )
        request = container_request(
            self._container, self._attempt, image, layers, context.facts(), services
        )
        await self._clear_old_run()
        try:
            async with services.starts:
                run = await services.launcher.create(self._sandbox, request)
        except BaseException:
            await self._clear_old_run(failed=True)
            raise
        self._record("Normal", "Created", f"Created container: {self._container.name}")
        self._show_identity(run)
        return run

    async def _clear_old_run(self, *, failed: bool = False) -> None:
        """Remove what is left of the run before the last one, or of one that was half made."""
        name, sandbox = self._container.name, self._sandbox
        if failed:
            run = sandbox.runs.pop(name, None)
            former = sandbox.previous.pop(name, None)
            if former is not None:
                sandbox.runs[name] = former
        else:
            run = sandbox.previous.pop(name, None)
        launcher = self._context.services.launcher
        if run is not None:
            await launcher.remove(sandbox, run)
            launcher.drop_log(sandbox, run)
        current = sandbox.runs.get(name)
        if current is not None and current.exit is not None:
            await launcher.remove(sandbox, current)
        kept = {one.container_id for one in (*sandbox.runs.values(), *sandbox.previous.values())}
        sandbox.log.compact(kept)

    async def _start(self, run: ContainerRun) -> bool:
        assert run.process is not None
        services = self._context.services
        if not run.process.watched:
            run.process.watch(lambda: services.launcher.record_exit(self._sandbox, run))
        if not run.started_at:
            try:
                await services.launcher.start(self._sandbox, run)
            except StartFailed as error:
                await services.launcher.kill(self._sandbox, run.container_id)
                await run.process.ended.wait()
                self._show_start_error(str(error))
                return False
            self._record("Normal", "Started", f"Started container {self._container.name}")
        self._show_running(run)
        return True

    async def _supervise(self, run: ContainerRun) -> None:
        """Probe until the container has ended."""
        if run.exit is not None:
            return
        assert run.process is not None
        async with TaskScope() as scope:
            scope.start(self._probe_all(run), name=f"probes-{run.container_id}")
            await run.process.ended.wait()

    async def _probe_all(self, run: ContainerRun) -> None:
        container, view = self._container, self._view
        if container.startup_probe is not None and not self._init:
            await self._probe(run, "startup", container.startup_probe)
        view.started = True
        if container.readiness_probe is None or self._init:
            view.ready = True
        self._changed()
        if self._init:
            return
        async with asyncio.TaskGroup() as group:
            if container.readiness_probe is not None:
                group.create_task(self._probe(run, "readiness", container.readiness_probe))
            if container.liveness_probe is not None:
                group.create_task(self._probe(run, "liveness", container.liveness_probe))

    async def _probe(self, run: ContainerRun, kind: ProbeKind, probe: Probe) -> None:
        """Probe on schedule; a startup probe ends with success, a failed one ends the container."""
        services = self._context.services
        eager = kind == "readiness" and bool(self._context.revision)
        schedule = schedule_of(probe, eager=eager)
        judge = Judge(schedule)
        execute = executor(self._context, run)
        await services.sleep(schedule.initial_delay_s)
        while True:
            begun = services.clock.monotonic()
            result = await run_probe(
                probe, self._container, self._sandbox.address, execute, schedule.timeout_s
            )
            if not result.success and not (eager and not judge.succeeded):
                text = f"{kind.capitalize()} probe failed: {result.detail}"
                self._record("Warning", "Unhealthy", text)
            if judge.add(success=result.success) and await self._decide(run, kind, probe, judge):
                return
            elapsed_s = services.clock.monotonic() - begun
            await services.sleep(max(0.001, judge.pause_s - elapsed_s))

    async def _decide(self, run: ContainerRun, kind: ProbeKind, probe: Probe, judge: Judge) -> bool:
        """Act on a new verdict; whether probing of this kind is over."""
        good = judge.verdict == "success"
        if kind == "readiness":
            self._view.ready = good
            self._changed()
            return False
        if good:
            return kind == "startup"
        name = self._container.name
        self._record(
            "Normal", "Killing", f"Container {name} failed {kind} probe, will be restarted"
        )
        grace_s = probe.termination_grace_period_seconds
        if grace_s is None:
            grace_s = self._context.spec.termination_grace_period_seconds
        await stop_container(
            self._context, self._container, run, 30.0 if grace_s is None else grace_s
        )
        return True

    # --- between runs -------------------------------------------------------------------------------

    async def _back_off(self) -> None:
        view = self._view
        delay_s = self._history.ended(_ran_s(view.started_at, view.finished_at))
        view.last = terminated_state(view)
        if delay_s >= _MIN_BACKOFF_SHOWN_S:
            pod, name = self._context.pod, self._container.name
            where = (
                f"{name} in pod {pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
            )
            message = f"back-off {delay_s:.0f}s restarting failed container={where}"
            view.waiting = ContainerStateWaiting(reason="CrashLoopBackOff", message=message)
            self._record("Warning", "BackOff", f"Back-off restarting failed container {where}")
        self._changed()
        await self._context.services.sleep(delay_s)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until configuration changes."""
        try:
            async with asyncio.timeout(seconds):
                await self._config_changed.wait()
        except TimeoutError:
            return

    # --- what is shown ------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._context.changed()

    def _record(self, kind: str, reason: str, message: str) -> None:
        recorder = self._context.services.recorder
        recorder.record(
            self._context.pod, "Warning" if kind == "Warning" else "Normal", reason, message
        )

    def _show_waiting(self, waiting: ContainerStateWaiting) -> None:
        self._view.waiting = waiting
        self._changed()

    def _wait_for(self, reason: str, message: str) -> None:
        self._show_waiting(ContainerStateWaiting(reason=reason, message=message))
        self._record("Warning", "Failed", f"Error: {message}")

    def _show_identity(self, run: ContainerRun) -> None:
        self._view.container_id, self._view.image_id = run.container_id, run.image_id
        self._view.restarts = run.attempt

    def _show_running(self, run: ContainerRun) -> None:
        view = self._view
        view.waiting, view.code, view.finished_at = None, None, ""
        view.started_at, view.oom, view.reason, view.message = run.started_at, False, "", ""
        view.started = view.ready = False
        self._changed()

    def _show_end(self, run: ContainerRun) -> None:
        view = self._view
        view.started = view.ready = False
        if run.exit is None:
            return
        view.waiting = None
        view.started_at, view.finished_at = run.started_at, run.finished_at
        view.code, view.signal, view.oom = run.exit.code, run.exit.signal, run.oom
        if not run.exit.known:
            view.reason = "ContainerStatusUnknown"
            view.message = "the process ended while nobody watched it"
            return
        view.message = read_message(run.paths)
        by_log = self._container.termination_message_policy == "FallbackToLogsOnError"
        if by_log and run.exit.code and not view.message:
            log = self._sandbox.paths.log(run.name, run.attempt)
            view.message = tail_of(log, _MESSAGE_LINES, _MESSAGE_BYTES)

    def _show_start_error(self, message: str) -> None:
        view = self._view
        moment = self._context.services.clock.wall().astimezone(dt.UTC).isoformat()
        view.waiting = None
        view.started_at = view.finished_at = moment
        view.code, view.signal, view.reason, view.message = (
            _START_ERROR_CODE,
            0,
            "StartError",
            message,
        )
        self._record("Warning", "Failed", f"Error: {message}")


def _ended_state(container: Container, run: ContainerRun) -> ContainerStateTerminated:
    view = ContainerView(container.name, container.image, container_id=run.container_id)
    view.started_at, view.finished_at, view.oom = run.started_at, run.finished_at, run.oom
    if run.exit is not None:
        view.code, view.signal = run.exit.code, run.exit.signal
    return terminated_state(view)


def _ran_s(started: str, finished: str) -> float:
    try:
        return (parse_timestamp(finished) - parse_timestamp(started)).total_seconds()
    except ValueError:
        return 0.0
