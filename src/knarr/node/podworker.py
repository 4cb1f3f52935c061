"""Realises one Pod on this machine, and ends it: the owner of its sandbox.

Two phases. While the Pod is wanted, one task per container keeps it running and one writes the status. Once
it is to end, those tasks are cancelled (which stops no container), the gateways are drained, the containers
stopped, everything removed, and the Pod object deleted. Both phases can be entered again at any point.
"""

import asyncio
import logging
from typing import Any

import msgspec

from knarr.kits.backoff import Backoff
from knarr.kits.clock import format_timestamp, parse_timestamp
from knarr.kits.tasks import TaskScope
from knarr.meta.errors import Conflict, KnarrError, NotFound, StatusError
from knarr.meta.objects import ObjectMeta
from knarr.node.addresses import AddressesExhausted
from knarr.node.building import sandbox_request
from knarr.node.bundle import BadContainer
from knarr.node.containerworker import ContainerWorker
from knarr.node.namespaces import id_base
from knarr.node.podcontext import PodContext
from knarr.node.podfacts import downward_files
from knarr.node.podstatus import PodView, pod_status
from knarr.node.record import Identity
from knarr.node.sandbox import Sandbox
from knarr.node.services import SANDBOX_ANNOTATION, Services
from knarr.node.stopping import stop_container
from knarr.node.threads import in_thread
from knarr.node.tokens import TokenRefused, questions_of
from knarr.node.volumefiles import Owner, write_files
from knarr.node.volumes import Files, volume_content
from knarr.resources.core.container import Container
from knarr.resources.core.pod import POD, Pod, PodStatus

LOG = logging.getLogger(__name__)

_RETRY = Backoff(initial_s=0.1, max_s=30.0, jitter=0.5)
_ORPHAN_GRACE_S = 2.0
_DEFAULT_GRACE_S = 30.0
_VOLUME_RETRY_S = 5.0
_EXCHANGE_S = 2.0
_CLEARED = {"message": None, "reason": None, "podIP": None, "podIPs": None, "startTime": None}


class PodWorker:
    """The life of one Pod object; ``run`` ends when nothing of it is left."""

    def __init__(self, services: Services, pod: Pod) -> None:
        self._services = services
        self._dirty = asyncio.Event()
        self._ending = asyncio.Event()
        self._config_changed = asyncio.Event()
        self._containers: list[ContainerWorker] = []
        self._reported: PodStatus | None = None
        self._gone = False
        self.context = PodContext(services, pod, self._dirty.set)

    @property
    def uid(self) -> str:
        """Of the Pod object."""
        return self.context.pod.metadata.uid

    @property
    def ending(self) -> bool:
        """Whether the Pod is to end."""
        return self._ending.is_set()

    @property
    def sandbox(self) -> Sandbox | None:
        """What it runs in, once there is one."""
        return self.context.sandbox

    # --- what happens outside -----------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The Pod object has changed."""
        before, self.context.pod = self.context.pod.metadata, pod
        if pod.deleting:
            self._ending.set()
        elif _worn(before) != _worn(pod.metadata) and any(downward_files(self.context.spec)):
            self._config_changed.set()

    def gone(self) -> None:
        """The Pod object is no more."""
        self._gone = True
        self._ending.set()

    def config_changed(self) -> None:
        """A ConfigMap or Secret that the Pod refers to has changed."""
        self._config_changed.set()
        for worker in self._containers:
            worker.config_changed()

    # --- life ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Realise the Pod until it is to end, then end it."""
        if self.context.sandbox is None:
            self.context.sandbox = self._services.spares.own(self.context.pod)
        async with TaskScope() as scope:
            if not self._ending.is_set():
                scope.start(self._report(), name=f"status-{self.uid}")
                scope.start(self._live(), name=f"pod-{self.uid}")
            await self._ending.wait()
        await self._end()

    async def _live(self) -> None:
        await self._ensure_sandbox()
        async with TaskScope() as scope:
            scope.start(self._refresh_volumes(), name=f"volumes-{self.uid}")
            await self._run_init_containers()
            self.context.initialized = True
            self._dirty.set()
            await self._run_containers()
            await asyncio.Event().wait()

    async def _run_init_containers(self) -> None:
        for container in self.context.spec.init_containers:
            worker = ContainerWorker(self.context, container, init=True)
            self._containers = [worker]
            await worker.run()
            if self.context.view(container).code:
                await asyncio.Event().wait()

    async def _run_containers(self) -> None:
        self._containers = [
            ContainerWorker(self.context, one) for one in self.context.spec.containers
        ]
        async with asyncio.TaskGroup() as group:
            for worker in self._containers:
                group.create_task(worker.run())

    # --- the sandbox --------------------------------------------------------------------------------

    async def _ensure_sandbox(self) -> None:
        context, services = self.context, self._services
        if context.sandbox is None:
            context.sandbox = await services.spares.claim(context.pod)
        if context.sandbox is not None:
            self._bind(context.sandbox)
            self._dirty.set()
            return
        attempt = 0
        while True:
            self._config_changed.clear()
            try:
                await self._make_sandbox()
            except (BadContainer, TokenRefused) as error:
                self._warn("FailedMount", str(error))
            except (OSError, AddressesExhausted, KnarrError) as error:
                self._warn("FailedCreatePodSandBox", str(error))
            else:
                self._dirty.set()
                return
            await self._wait_for_config(_RETRY.delay_s(attempt, services.rng) + 1.0)
            attempt += 1

    def _bind(self, sandbox: Sandbox) -> None:
        metadata = self.context.pod.metadata
        if sandbox.identity.uid != metadata.uid:
            identity = Identity(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
            self._services.host.bind(sandbox, identity)

    async def _make_sandbox(self) -> None:
        host = self._services.host
        facts = self.context.facts()
        await self._services.tokens.ensure(questions_of(facts))
        request = sandbox_request(facts, self._services)
        sandbox = host.plan(request)
        self.context.sandbox = sandbox
        try:
            async with host.realise(sandbox, request):
                pass
        except asyncio.CancelledError:
            raise  # the Pod is to end, or the agent is: both find the sandbox
        except BaseException:
            self.context.sandbox = None
            await host.remove(sandbox)
            raise

    async def _wait_for_config(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._config_changed.wait()
        except TimeoutError:
            return

    async def _refresh_volumes(self) -> None:
        """Keep the files of volumes what objects and the Pod say, and its tokens fresh.

        A sandbox that was made before its Pod has tokens of the account: they are exchanged for the Pod's own
        a little later, when the first request is answered.
        """
        while True:
            questions = questions_of(self.context.facts())
            due_s = self._services.tokens.due_in(questions)
            await self._wait_for_config(None if due_s is None else max(_EXCHANGE_S, due_s))
            self._config_changed.clear()
            try:
                await self._services.tokens.ensure(questions)
                await in_thread(self._write_volumes)
            except (BadContainer, TokenRefused, OSError) as error:
                self._warn("FailedMount", str(error))
                await self._services.sleep(_VOLUME_RETRY_S)

    def _write_volumes(self) -> None:
        sandbox = self.context.sandbox
        if sandbox is None:
            return
        spec, facts = self.context.spec, self.context.facts()
        base = id_base(sandbox.record.index)
        group = spec.security_context.fs_group if spec.security_context else None
        owner = Owner(base, base + group if group else base)
        for volume in spec.volumes:
            if volume.persistent_volume_claim is not None:
                continue
            content = volume_content(volume, facts, self._services.sources)
            if isinstance(content, Files):
                write_files(sandbox.paths.volume(volume.name, in_memory=True), content, owner)

    # --- status -------------------------------------------------------------------------------------

    def status(self) -> PodStatus:
        """The Pod's status as it should be now."""
        context = self.context
        old = self._reported or context.pod.status
        now = self._services.clock.wall()
        start = old.start_time if old is not None and old.start_time else format_timestamp(now)
        view = PodView(
            spec=context.spec,
            containers=[context.view(one) for one in context.spec.containers],
            init_containers=[context.view(one) for one in context.spec.init_containers],
            initialized=context.initialized or not context.spec.init_containers,
            address=context.sandbox.address if context.sandbox else "",
            host_ip=self._services.machine.host_ip,
            start_time=start,
        )
        return pod_status(view, old, now)

    async def _report(self) -> None:
        """Write the status whenever it differs from what was written last."""
        attempt = 0
        self._dirty.set()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._write_status()
                attempt = 0
            except NotFound:
                return
            except StatusError as error:
                LOG.debug("status of %s: %s", self.context.pod.key, error)
                self._dirty.set()
                await self._services.sleep(_RETRY.delay_s(attempt, self._services.rng))
                attempt += 1

    async def _write_status(self) -> None:
        context, client = self.context, self._services.client
        pod = context.pod
        sandbox = context.sandbox
        precondition = {"uid": pod.metadata.uid}
        if sandbox is not None and pod.metadata.annotation(SANDBOX_ANNOTATION) != sandbox.id:
            annotations = {SANDBOX_ANNOTATION: sandbox.id}
            patch: dict[str, Any] = {"metadata": {**precondition, "annotations": annotations}}
            context.pod = pod = await client.patch(POD, pod.key, patch)
        status = self.status()
        if status == (self._reported or pod.status):
            return
        document = _CLEARED | msgspec.to_builtins(status)
        await client.patch(
            POD, pod.key, {"metadata": precondition, "status": document}, subresource="status"
        )
        self._reported = status

    def _warn(self, reason: str, message: str) -> None:
        self._services.recorder.record(self.context.pod, "Warning", reason, message)

    # --- the end ------------------------------------------------------------------------------------

    def _grace_s(self) -> float:
        """Seconds until SIGKILL, counted from the request to delete."""
        if self._gone:
            return _ORPHAN_GRACE_S
        metadata = self.context.pod.metadata
        granted = metadata.deletion_grace_period_seconds
        if granted is None or metadata.deletion_timestamp is None:
            return _DEFAULT_GRACE_S
        # The timestamp has whole seconds; an agent that was restarted meanwhile goes by it.
        left = parse_timestamp(metadata.deletion_timestamp) - self._services.clock.wall()
        return max(0.0, min(float(granted), left.total_seconds() + 1.0))

    async def _end(self) -> None:
        sandbox, services = self.context.sandbox, self._services
        if sandbox is not None:
            deadline = services.clock.monotonic() + self._grace_s()
            running = [run for run in sandbox.runs.values() if run.running]
            if running and self.context.revision:
                await services.gateways.drain(self.context.revision, sandbox.id, self._grace_s())
            async with asyncio.TaskGroup() as group:
                for container in self._running_containers(sandbox):
                    group.create_task(self._stop(container, sandbox, deadline))
            await services.host.remove(sandbox)
            self.context.sandbox = None
        services.tokens.forget(self.uid)
        await self._delete_object()
        services.spares.ended(self.context.pod)

    def _running_containers(self, sandbox: Sandbox) -> list[Container]:
        spec = self.context.spec
        return [
            one
            for one in (*spec.init_containers, *spec.containers)
            if one.name in sandbox.runs and sandbox.runs[one.name].process is not None
        ]

    async def _stop(self, container: Container, sandbox: Sandbox, deadline: float) -> None:
        run, services = sandbox.runs[container.name], self._services
        if run.exit is not None or run.process is None:
            return
        if not run.process.watched:
            run.process.watch(lambda: services.launcher.record_exit(sandbox, run))
        name = container.name
        services.recorder.record(
            self.context.pod, "Normal", "Killing", f"Stopping container {name}"
        )
        left_s = max(0.0, deadline - services.clock.monotonic())
        await stop_container(self.context, container, run, left_s)

    async def _delete_object(self) -> None:
        """Confirm the deletion; an object that is gone, or a successor of the same name, is fine."""
        attempt = 0
        pod = self.context.pod
        while not self._gone:
            try:
                await self._services.client.delete(POD, pod.key, uid=pod.metadata.uid, grace_s=0)
            except (NotFound, Conflict):
                return
            except StatusError as error:
                LOG.debug("deleting %s: %s", pod.key, error)
                await self._services.sleep(_RETRY.delay_s(attempt, self._services.rng))
                attempt += 1
            else:
                return


def _worn(metadata: ObjectMeta) -> tuple[object, object]:
    """What of a Pod's metadata changes, and files may hold."""
    return metadata.labels, metadata.annotations
