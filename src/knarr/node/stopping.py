"""Ends a running container the polite way: hook, signal, time, SIGKILL."""

import asyncio
import signal

from knarr.node import programs
from knarr.node.exits import ends_by_default
from knarr.node.podcontext import PodContext
from knarr.node.probing import run_hook
from knarr.node.sandbox import ContainerRun
from knarr.resources.core.container import Container

_MIN_TERM_S = 2.0


def parse_signal(text: str) -> signal.Signals:
    """An image's ``StopSignal``: ``SIGQUIT``, ``QUIT`` or a number; what is none means SIGTERM."""
    name = text.upper()
    try:
        if name.isdigit():
            return signal.Signals(int(name))
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        return signal.SIGTERM


async def stop_container(
    context: PodContext, container: Container, run: ContainerRun, grace_s: float
) -> None:
    """End a container; returns when its process is gone.

    Args:
        context: of its Pod.
        container: for its hook.
        run: its current run.
        grace_s: hook and signal together; then SIGKILL. After a long hook at least 2 s are left.
    """
    process = run.process
    if process is None or run.exit is not None:
        return
    if not run.started_at:
        process.send(signal.SIGKILL)
        await process.ended.wait()
        return
    clock = context.services.clock
    deadline = clock.monotonic() + grace_s
    hook = container.lifecycle.pre_stop if container.lifecycle else None
    if hook is not None and grace_s > 0 and context.sandbox is not None:
        result = await run_hook(
            hook, container, context.sandbox.address, executor(context, run), grace_s
        )
        if not result.success:
            message = f"PreStopHook failed: {result.detail}"
            context.services.recorder.record(context.pod, "Warning", "FailedPreStopHook", message)
        deadline = max(deadline, clock.monotonic() + _MIN_TERM_S)
    number = parse_signal(run.stop_signal)
    if ends_by_default(process.pid, number) or grace_s <= 0:
        number = signal.SIGKILL
    process.send(number)
    try:
        async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
            await process.ended.wait()
    except TimeoutError:
        process.send(signal.SIGKILL)
        await process.ended.wait()


class executor:  # noqa: N801 - used as a function, satisfies ``probing.Executor``
    """Runs commands inside one container."""

    __slots__ = ("_container_id", "_runtime")

    def __init__(self, context: PodContext, run: ContainerRun) -> None:
        self._runtime = context.services.launcher.runtime
        self._container_id = run.container_id

    async def __call__(self, command: tuple[str, ...], timeout_s: float) -> programs.Output:
        """Run one.

        Raises:
            ProgramError: no end within ``timeout_s``.
        """
        return await self._runtime.execute(self._container_id, command, timeout_s=timeout_s)
