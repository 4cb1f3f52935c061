"""Cold starts: from ``activate`` to an application that accepts connections.

The path of a parked sandbox touches no API, no program and no disk but the intent log; it releases the
containers and watches the port. The Pod object that belongs to the sandbox is made afterwards.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from knarr.dataplane.messages import (
    Activate,
    Activated,
    ActivationRefused,
    ActivationTimings,
    Replica,
)
from knarr.kits.backoff import Backoff
from knarr.kits.clock import format_timestamp
from knarr.kits.tasks import TaskScope
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, KnarrError, StatusError, TooManyRequests, Unavailable
from knarr.node.building import replica_set_of
from knarr.node.launch import StartFailed
from knarr.node.parker import Parker
from knarr.node.probing import run_probe
from knarr.node.programs import Output
from knarr.node.quickprobe import wait_for_port
from knarr.node.revisions import RevisionEntry, RevisionIndex, planned_pod
from knarr.node.sandbox import Sandbox
from knarr.node.services import ACTIVATED_ANNOTATION, SANDBOX_ANNOTATION, Services
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.resources.core.pod import POD, Pod

LOG = logging.getLogger(__name__)

_READY_TIMEOUT_S = 60.0
_OBJECT_DELAY_S = 0.25
_HAND_OVER_S, _HAND_OVER_STEP_S = 10.0, 0.01
_SURPLUS_S = 2.0
_PROBE_STEP_S = 0.005
_PROBE_TIMEOUT_S = 1.0
_RETRY = Backoff(initial_s=0.05, max_s=5.0, jitter=0.3)
_PASSING = (Unavailable, TooManyRequests)


@dataclass(slots=True)
class LiveReplica:
    """A replica that an activation makes; several gateways may wait for the same.

    Attributes:
        started: set when the containers run, or never will.
        settled: set when the outcome is known.
        claimed: a Pod of the slow path takes the sandbox, so none is made for it.
        creating: a Pod object is being made.
        failure: why it does not accept connections; empty when it does.
    """

    entry: RevisionEntry
    sandbox: Sandbox | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""
    claimed: asyncio.Event = field(default_factory=asyncio.Event)
    creating: bool = False
    timings: ActivationTimings = field(default_factory=ActivationTimings)


class Activator:
    """Answers activations, and gives Pods of the slow path their sandboxes (``services.Spares``).

    An async context manager that owns the work done after the answers.
    """

    def __init__(
        self,
        parker: Parker,
        index: RevisionIndex,
        replica_sets: Informer[ReplicaSet],
        pods: Informer[Pod],
        running: Callable[[str], Sandbox | None],
    ) -> None:
        """Args.

        parker: gives out parked sandboxes and makes new ones.
        index: revisions by name.
        replica_sets: for the template of the Pod object.
        pods: learns of the Pod objects made here.
        running: the sandbox of a revision that a Pod's worker runs already, or None.
        """
        self._parker = parker
        self._index = index
        self._replica_sets = replica_sets
        self._pods = pods
        self._running = running
        self._used: Services | None = None
        self._live: dict[str, LiveReplica] = {}
        self._scope = TaskScope()

    def use(self, services: Services) -> None:
        """Complete the construction: workers need the activator, and it needs what workers have."""
        self._used = services

    @property
    def _services(self) -> Services:
        assert self._used is not None, "Activator.use was not called"
        return self._used

    async def __aenter__(self) -> "Activator":
        await self._scope.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._scope.__aexit__(*error)  # type: ignore[arg-type]  # the three of the protocol

    def busy(self, replica_set: str) -> bool:
        """Whether an activation of this ReplicaSet (uid) is under way."""
        return any(live.entry.uid == replica_set for live in self._live.values())

    async def activate(self, message: Activate) -> Activated | ActivationRefused:
        """One activation; never raises but for cancellation."""
        entry = self._index.find(message.revision)
        if entry is None:
            return _refusal(message, "UnknownRevision", "no ReplicaSet of this revision is known")
        live = self._live.get(message.revision)
        if live is None:
            sandbox = self._running(message.revision)
            live = LiveReplica(entry, sandbox)
            if sandbox is not None:
                await self._await_ready(live)
            else:
                self._live[message.revision] = live
                await self._start(live)
        else:
            await live.settled.wait()
        if live.failure or live.sandbox is None:
            reason = "StartFailed" if live.sandbox is None else "NotReady"
            return _refusal(message, reason, live.failure)
        replica = Replica(id=live.sandbox.id, address=live.sandbox.address, port=entry.port)
        return Activated(
            id=message.id, revision=message.revision, replica=replica, timings=live.timings
        )

    # --- starting -----------------------------------------------------------------------------------

    async def _start(self, live: LiveReplica) -> None:
        """Get a sandbox, release it, wait for its port; the outcome is in ``live``."""
        clock = self._services.clock
        begun = clock.monotonic()
        sandbox = self._parker.take(live.entry.uid)
        parked = sandbox is not None
        try:
            live.sandbox = sandbox or await self._make(live.entry)
            made = clock.monotonic()
            for run in live.sandbox.runs.values():
                await self._services.launcher.start(live.sandbox, run)
            started = clock.monotonic()
            live.started.set()
            self._scope.start(self._give_object(live), name=f"object-{live.entry.revision}")
            await self._await_ready(live)
            live.timings = ActivationTimings(
                sandbox_us=int((made - begun) * 1e6),
                start_us=int((started - made) * 1e6),
                probe_us=int((clock.monotonic() - started) * 1e6),
                parked=parked,
            )
        except (KnarrError, OSError) as error:
            live.failure = str(error)
            LOG.info("activation of %s: %s", live.entry.revision, error)
            await self._abandon(live)
        finally:
            live.started.set()
            live.settled.set()

    async def _make(self, entry: RevisionEntry) -> Sandbox:
        replica_set = self._replica_sets.get(entry.replica_set)
        if replica_set is None or not entry.parkable:
            raise StartFailed("this revision starts by way of its Pod only")
        sandbox = await self._parker.make_now(replica_set)
        if sandbox is None:
            raise StartFailed("an image of this revision is not on this machine yet")
        return sandbox

    async def _await_ready(self, live: LiveReplica) -> None:
        """Until the port accepts connections and the user's probe agrees."""
        sandbox, clock = live.sandbox, self._services.clock
        assert sandbox is not None
        deadline = clock.monotonic() + _READY_TIMEOUT_S

        def alive() -> bool:
            return not sandbox.removing and all(one.exit is None for one in sandbox.runs.values())

        try:
            listening = await wait_for_port(
                sandbox.address, live.entry.port, clock, deadline, alive
            )
            while listening and not await self._probe(live.entry, sandbox):
                listening = alive() and clock.monotonic() < deadline
                await self._services.sleep(_PROBE_STEP_S)
        except TimeoutError as error:
            live.failure = str(error)
            return
        if not listening:
            live.failure = "the application ended, or its readiness probe kept failing"

    async def _probe(self, entry: RevisionEntry, sandbox: Sandbox) -> bool:
        probe = entry.probe
        if probe is None or (probe.tcp_socket is not None):
            return True
        run = sandbox.runs.get(entry.serving.name)
        runtime = self._services.launcher.runtime

        async def execute(command: tuple[str, ...], timeout_s: float) -> Output:
            assert run is not None
            return await runtime.execute(run.container_id, command, timeout_s=timeout_s)

        timeout_s = float(probe.timeout_seconds or _PROBE_TIMEOUT_S)
        result = await run_probe(probe, entry.serving, sandbox.address, execute, timeout_s)
        return result.success

    async def _abandon(self, live: LiveReplica) -> None:
        """Nothing will come of this activation: no Pod object was made for it yet."""
        self._live.pop(live.entry.revision, None)
        sandbox, live.sandbox = live.sandbox, None
        if sandbox is not None:
            try:
                await self._services.host.remove(sandbox)
            except (KnarrError, OSError):
                LOG.exception("sandbox %s cannot be removed", sandbox.id)

    # --- Pods that come by the slow path ------------------------------------------------------------

    def own(self, pod: Pod) -> Sandbox | None:
        """The sandbox that this Pod has already, of an earlier agent or by activation."""
        return self._parker.own(pod)

    async def claim(self, pod: Pod) -> Sandbox | None:
        """A sandbox for a Pod: the one that an activation of its ReplicaSet makes now, else a parked one.

        Demand goes to the autoscaler and here at once, so a Pod often arrives while its replica starts
        already. A Pod that arrives when the activation has a Pod object of its own is one too many: it is
        left alone for a moment in which its ReplicaSet finds that out.
        """
        replica_set = replica_set_of(pod)
        live = next((one for one in self._live.values() if one.entry.uid == replica_set), None)
        if live is None:
            return self._parker.take(replica_set)
        if live.creating or live.claimed.is_set():
            await self._services.sleep(_SURPLUS_S)
            return self._parker.take(replica_set)
        live.claimed.set()
        await live.started.wait()
        self._live.pop(live.entry.revision, None)
        sandbox = live.sandbox
        return None if sandbox is None or sandbox.removing else sandbox

    def ended(self, pod: Pod) -> None:
        """A Pod is gone: its revision may want a parked sandbox."""
        self._parker.consider(replica_set_of(pod))

    # --- the Pod object -----------------------------------------------------------------------------

    def resume(self, sandbox: Sandbox) -> bool:
        """Go on with a started sandbox of an earlier agent that has no Pod object yet.

        Returns:
            False when its revision is gone.
        """
        entry = self._index.by_uid(sandbox.record.replica_set)
        if entry is None or entry.revision in self._live:
            return False
        live = LiveReplica(entry, sandbox)
        live.started.set()
        live.settled.set()
        self._live[entry.revision] = live
        self._scope.start(self._give_object(live), name=f"object-{entry.revision}")
        return True

    async def _give_object(self, live: LiveReplica) -> None:
        """Make the Pod object of an activated sandbox, unless one comes by the slow path soon."""
        try:
            async with asyncio.timeout(_OBJECT_DELAY_S):
                await live.claimed.wait()
        except TimeoutError:
            live.creating = True
        sandbox = live.sandbox
        if sandbox is None or not live.creating:
            return
        attempt = 0
        while not await self._create_object(live, sandbox):
            if self._index.by_uid(live.entry.uid) is None:
                await self._abandon(live)
                return
            await self._services.sleep(_RETRY.delay_s(attempt, self._services.rng))
            attempt += 1
        await self._hand_over(live)
        self._live.pop(live.entry.revision, None)

    async def _hand_over(self, live: LiveReplica) -> None:
        """Until the Pod's worker answers for the sandbox, so that no second one is made meanwhile."""
        deadline = self._services.clock.monotonic() + _HAND_OVER_S
        while self._running(live.entry.revision) is None:
            if live.sandbox is None or live.sandbox.removing:
                return
            if self._services.clock.monotonic() > deadline:
                return
            await self._services.sleep(_HAND_OVER_STEP_S)

    async def _create_object(self, live: LiveReplica, sandbox: Sandbox) -> bool:
        """One attempt; False when another may succeed."""
        replica_set = self._replica_sets.get(live.entry.replica_set)
        if replica_set is None:
            return False
        pod = self._object(replica_set, sandbox)
        try:
            created = await self._services.client.create(POD, pod)
        except _PASSING:
            return False
        except AlreadyExists:
            # Ours, from an attempt whose answer was lost; its worker finds the sandbox by the record.
            return True
        except StatusError as error:
            LOG.warning("the Pod of activated sandbox %s is refused: %s", sandbox.id, error)
            await self._abandon(live)
            return True
        self._pods.observe(created)
        return True

    def _object(self, replica_set: ReplicaSet, sandbox: Sandbox) -> Pod:
        services = self._services
        pod = planned_pod(replica_set, services.node_name, services.rng)
        annotations = {
            **(pod.metadata.annotations or {}),
            SANDBOX_ANNOTATION: sandbox.id,
            ACTIVATED_ANNOTATION: format_timestamp(services.clock.wall()),
        }
        metadata = msgspec.structs.replace(
            pod.metadata, name=sandbox.identity.name, annotations=annotations
        )
        return msgspec.structs.replace(pod, metadata=metadata)


def _refusal(message: Activate, reason: str, text: str) -> ActivationRefused:
    return ActivationRefused(id=message.id, revision=message.revision, reason=reason, message=text)
