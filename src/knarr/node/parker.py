"""Keeps a parked sandbox for each revision without replicas, within the lot's bound.

One sandbox is made at a time, in the background. What is parked is dropped when its ReplicaSet goes away, and
made anew when the template, an image or an object it refers to changes.
"""

import asyncio
import logging
from collections.abc import Callable

from knarr.kube.informer import Informer
from knarr.meta.errors import KnarrError
from knarr.meta.objects import Key
from knarr.node.building import container_request, sandbox_request
from knarr.node.images.records import ImageRecord
from knarr.node.parking import ESTIMATE_BYTES, Parked, ParkingLot
from knarr.node.podcontext import pod_facts
from knarr.node.revisions import RevisionIndex, fingerprint, sandbox_pod
from knarr.node.sandbox import Sandbox
from knarr.node.servicelinks import KUBERNETES
from knarr.node.services import SANDBOX_ANNOTATION, Services
from knarr.node.tokens import questions_of
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.resources.core.pod import Pod

LOG = logging.getLogger(__name__)


class Parker:
    """Makes, holds and gives out parked sandboxes.

    Args:
        busy: whether a revision (by ReplicaSet uid) has a replica now, or is getting one.
    """

    def __init__(
        self,
        lot: ParkingLot,
        index: RevisionIndex,
        replica_sets: Informer[ReplicaSet],
        busy: Callable[[str], bool],
    ) -> None:
        self.lot = lot
        self._index = index
        self._replica_sets = replica_sets
        self._busy = busy
        self._services: Services | None = None
        self._queue: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._recovered: dict[str, Sandbox] = {}
        self._doomed: list[Sandbox] = []

    def use(self, services: Services) -> None:
        """Complete the construction: workers need the parker, and the parker what workers have."""
        self._services = services

    @property
    def _own(self) -> Services:
        assert self._services is not None, "Parker.use was not called"
        return self._services

    # --- giving out ---------------------------------------------------------------------------------

    def adopt(self, sandbox: Sandbox) -> None:
        """A sandbox of an earlier agent: parked again, or kept for the Pod that it belongs to."""
        whole = sandbox.runs and all(run.parked for run in sandbox.runs.values())
        record = sandbox.record
        if not sandbox.identity.uid and record.replica_set and whole:
            entry = self._entry(sandbox, record.replica_set, record.fingerprint)
            self._drop_all(self.lot.put(entry))
            self.consider(record.replica_set)
            for name in sandbox.runs:
                self._watch(sandbox, name)
        else:
            self._recovered[sandbox.id] = sandbox

    @property
    def unclaimed(self) -> tuple[Sandbox, ...]:
        """Recovered sandboxes that no Pod has claimed."""
        return tuple(self._recovered.values())

    def forget(self, sandbox: Sandbox) -> None:
        """A recovered sandbox is somebody's now."""
        self._recovered.pop(sandbox.id, None)

    def own(self, pod: Pod) -> Sandbox | None:
        """The sandbox that a Pod has already: by our own record, or by activation."""
        named = self._own.host.sandboxes.get(pod.metadata.annotation(SANDBOX_ANNOTATION))
        if named is not None and not named.removing and self._fits(named, pod):
            self.forget(named)
            return named
        for sandbox in self.unclaimed:
            if sandbox.identity.uid == pod.metadata.uid:
                self.forget(sandbox)
                return sandbox
        return None

    @staticmethod
    def _fits(sandbox: Sandbox, pod: Pod) -> bool:
        """An annotation is anybody's to write: the sandbox must be this Pod's by our own record."""
        identity = sandbox.identity
        if identity.uid:
            return identity.uid == pod.metadata.uid
        return (identity.namespace, identity.name) == (pod.metadata.namespace, pod.metadata.name)

    def take(self, replica_set: str) -> Sandbox | None:
        """The parked sandbox of a ReplicaSet, if it is still what it should be; no await."""
        entry = self.lot.take(replica_set) if replica_set else None
        if entry is None:
            return None
        sandbox = self._own.host.sandboxes.get(entry.sandbox)
        if (
            sandbox is None
            or sandbox.removing
            or not all(one.parked for one in sandbox.runs.values())
        ):
            self._drop(entry)
            return None
        return sandbox

    # --- making -------------------------------------------------------------------------------------

    def consider(self, replica_set: str) -> None:
        """Something about a ReplicaSet changed: look at it soon."""
        if replica_set:
            self._queue[replica_set] = None
            self._wake.set()

    def consider_all(self) -> None:
        """An object that templates refer to, or an image, has changed."""
        for entry in self._index:
            self.consider(entry.uid)

    def consider_links(self, service: Key) -> None:
        """A Service has changed: sandboxes whose containers are told of it may be stale."""
        for entry in self._index:
            told = entry.links and entry.replica_set.namespace == service.namespace
            if told or service == KUBERNETES:
                self.consider(entry.uid)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._doomed:
                sandbox = self._doomed.pop()
                try:
                    await self._own.host.remove(sandbox)
                except (KnarrError, OSError) as error:
                    LOG.warning("removing parked sandbox %s: %s", sandbox.id, error)
            while self._queue:
                replica_set = next(iter(self._queue))
                del self._queue[replica_set]
                try:
                    await self._reconcile(replica_set)
                except (KnarrError, OSError) as error:
                    LOG.warning("parking a sandbox of %s: %s", replica_set, error)

    async def _reconcile(self, uid: str) -> None:
        entry = self._index.by_uid(uid)
        parked = self.lot.find(uid)
        replica_set = self._replica_sets.get(entry.replica_set) if entry else None
        if entry is None or replica_set is None or not entry.parkable:
            if parked is not None:
                await self._remove(parked)
            return
        images = self._local_images(replica_set)
        if images is None:
            return
        wanted = fingerprint(
            replica_set, tuple(image.digest for image in images), self._own.sources
        )
        if parked is not None:
            if parked.fingerprint == wanted:
                return
            await self._remove(parked)
        if entry.replicas == 0 and not self._busy(uid) and self.lot.admits():
            await self._park(replica_set, images, wanted)

    def _local_images(self, replica_set: ReplicaSet) -> tuple[ImageRecord, ...] | None:
        """The containers' images, None unless all are here."""
        template = replica_set.spec.template if replica_set.spec else None
        spec = template.spec if template else None
        found = [self._own.images.resolve(one.image) for one in (spec.containers if spec else ())]
        present = tuple(image for image in found if image is not None)
        return present if len(present) == len(found) else None

    async def _park(
        self, replica_set: ReplicaSet, images: tuple[ImageRecord, ...], wanted: str
    ) -> None:
        uid = replica_set.metadata.uid
        sandbox = await self.make(replica_set, images, wanted)
        if self._busy(uid) or self.lot.find(uid) is not None:
            await self._own.host.remove(sandbox)
            return
        entry = self._entry(sandbox, uid, wanted)
        for gone in self.lot.put(entry):
            await self._remove(gone)

    def _entry(self, sandbox: Sandbox, replica_set: str, made_from: str) -> Parked:
        launcher = self._own.launcher
        size = launcher.machine.cgroups.memory(launcher.cgroup_path(sandbox)).usage_bytes
        return Parked(sandbox.id, replica_set, made_from, size or ESTIMATE_BYTES)

    async def make_now(self, replica_set: ReplicaSet) -> Sandbox | None:
        """A sandbox for an activation that found none parked; None when an image is not here.

        Raises:
            KnarrError, OSError: it cannot be made; nothing of it is left.
        """
        images = self._local_images(replica_set)
        if images is None:
            return None
        digests = tuple(image.digest for image in images)
        wanted = fingerprint(replica_set, digests, self._own.sources)
        return await self.make(replica_set, images, wanted)

    async def make(
        self, replica_set: ReplicaSet, images: tuple[ImageRecord, ...], wanted: str
    ) -> Sandbox:
        """A sandbox of a ReplicaSet's template with every container created and none started.

        Raises:
            KnarrError, OSError: it cannot be made; nothing of it is left.
        """
        services = self._own
        pod = sandbox_pod(replica_set, services.node_name, services.rng, services.sources)
        facts = pod_facts(pod, services, None)
        await services.tokens.ensure(questions_of(facts))
        request = sandbox_request(
            facts, services, replica_set=replica_set.metadata.uid, fingerprint=wanted
        )
        sandbox = services.host.plan(request)
        try:
            async with services.host.realise(sandbox, request):
                facts = pod_facts(pod, services, sandbox)
                for container, image in zip(facts.spec.containers, images, strict=True):
                    layers = await services.images.layers(image)
                    run = await services.launcher.create(
                        sandbox, container_request(container, 0, image, layers, facts, services)
                    )
                    self._watch(sandbox, run.name)
        except asyncio.CancelledError:
            raise  # the agent stops; the next one undoes it
        except BaseException:
            await services.host.remove(sandbox)
            raise
        return sandbox

    def _watch(self, sandbox: Sandbox, name: str) -> None:
        run, launcher = sandbox.runs[name], self._own.launcher
        if run.process is not None and not run.process.watched:
            run.process.watch(lambda: launcher.record_exit(sandbox, run))

    def drop_all(self) -> int:
        """Give up everything parked, to have its memory back; how many there were.

        A revision is parked again when its next replica ends.
        """
        entries = self.lot.entries
        for entry in entries:
            self.lot.take(entry.replica_set)
            self._drop(entry)
        return len(entries)

    # --- dropping -----------------------------------------------------------------------------------

    async def _remove(self, entry: Parked) -> None:
        current = self.lot.find(entry.replica_set)
        if current is not None and current.sandbox == entry.sandbox:
            self.lot.take(entry.replica_set)
        sandbox = self._own.host.sandboxes.get(entry.sandbox)
        if sandbox is not None:
            await self._own.host.remove(sandbox)

    def _drop_all(self, entries: list[Parked]) -> None:
        for entry in entries:
            self._drop(entry)

    def _drop(self, entry: Parked) -> None:
        """Have a sandbox removed in the background."""
        sandbox = self._own.host.sandboxes.get(entry.sandbox)
        if sandbox is not None:
            sandbox.removing = True
            self._doomed.append(sandbox)
            self._wake.set()
