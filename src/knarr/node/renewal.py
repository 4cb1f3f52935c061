"""Keeps tokens fresh that no Pod's worker looks after: in parked sandboxes, and of accounts.

An account whose revisions are at zero always has a token here, so a cold start without a parked sandbox asks
nobody, and works while the API server is away.
"""

import logging
from collections.abc import Awaitable, Callable

from knarr.kube.informer import Informer
from knarr.meta.errors import KnarrError
from knarr.node.building import sandbox_request
from knarr.node.namespaces import id_base
from knarr.node.parking import ParkingLot
from knarr.node.podcontext import pod_facts
from knarr.node.podfacts import PodFacts
from knarr.node.revisions import RevisionEntry, RevisionIndex, sandbox_pod
from knarr.node.sandbox import Sandbox
from knarr.node.services import Services
from knarr.node.threads import in_thread
from knarr.node.tokens import questions_of
from knarr.node.volumefiles import Owner, write_files
from knarr.node.volumes import Files
from knarr.resources.apps.replicaset import ReplicaSet

LOG = logging.getLogger(__name__)
_PAUSE_S = 60.0


class Renewal:
    """Goes through all revisions once a minute; ``run`` works until cancelled."""

    def __init__(
        self,
        services: Services,
        lot: ParkingLot,
        index: RevisionIndex,
        replica_sets: Informer[ReplicaSet],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._services = services
        self._lot = lot
        self._index = index
        self._replica_sets = replica_sets
        self._sleep = sleep

    async def run(self) -> None:
        """Renew what is due, until cancelled."""
        while True:
            for entry in self._index:
                if entry.parkable:
                    try:
                        await self.renew(entry)
                    except (KnarrError, OSError) as error:
                        LOG.warning("tokens of %s: %s", entry.revision, error)
            await self._sleep(_PAUSE_S)

    async def renew(self, entry: RevisionEntry) -> None:
        """Have a revision's tokens fresh, in its parked sandbox too.

        Raises:
            KnarrError, OSError: they cannot be had, or not be written.
        """
        replica_set = self._replica_sets.get(entry.replica_set)
        if replica_set is None:
            return
        services = self._services
        pod = sandbox_pod(replica_set, services.node_name, services.rng, services.sources)
        facts = pod_facts(pod, services, None)
        questions = questions_of(facts)
        if services.tokens.due_in(questions) != 0.0:
            return
        await services.tokens.ensure(questions)
        parked = self._lot.find(entry.uid)
        sandbox = services.host.sandboxes.get(parked.sandbox) if parked is not None else None
        if sandbox is not None and not sandbox.removing:
            await in_thread(lambda: self._write(sandbox, facts))

    def _write(self, sandbox: Sandbox, facts: PodFacts) -> None:
        request = sandbox_request(facts, self._services)
        base = id_base(sandbox.record.index)
        owner = Owner(base, base + request.fs_group if request.fs_group else base)
        for name, content in request.volumes.items():
            if isinstance(content, Files):
                write_files(sandbox.paths.volume(name, in_memory=True), content, owner)
