"""The node agent: one worker per Pod of this node, and what they share.

Workers are started, told of changes, and restarted when they fail. A worker ends when nothing of its Pod is
left. Stopping the agent stops no container.
"""

import asyncio
import logging
from collections.abc import Iterator

from knarr.kits.backoff import Backoff
from knarr.kits.tasks import TaskScope
from knarr.kube.cache import Change
from knarr.kube.factory import InformerFactory
from knarr.meta.errors import KnarrError
from knarr.meta.objects import Key, Resource
from knarr.node.building import replica_set_of
from knarr.node.podfacts import Reference, references
from knarr.node.podworker import PodWorker
from knarr.node.sandbox import Sandbox
from knarr.node.services import SANDBOX_ANNOTATION, Services
from knarr.node.sources import CachedSources
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.persistentvolumeclaim import (
    PersistentVolumeClaim,
)
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.secret import Secret
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.core.tokenvolume import DEFAULT_ACCOUNT

LOG = logging.getLogger(__name__)
_RESTART = Backoff(initial_s=0.5, max_s=60.0, jitter=0.3)


class Agent:
    """Keeps the workers; an async context manager whose tasks end with it."""

    def __init__(
        self, services: Services, factory: InformerFactory, sources: CachedSources
    ) -> None:
        self._services = services
        self._sources = sources
        self._pods = factory.informer(POD)
        self._workers: dict[str, PodWorker] = {}
        self._by_key: dict[Key, str] = {}
        self._scope = TaskScope()

    async def __aenter__(self) -> "Agent":
        await self._scope.__aenter__()
        self._pods.add_handler(self._pod_changed)
        self._sources.config_maps.add_handler(self._config_map_changed)
        self._sources.secrets.add_handler(self._secret_changed)
        self._sources.accounts.add_handler(self._account_changed)
        self._sources.claims.add_handler(self._claim_changed)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._scope.__aexit__(*error)  # type: ignore[arg-type]  # the three of the protocol

    # --- what others may ask ------------------------------------------------------------------------

    @property
    def workers(self) -> tuple[PodWorker, ...]:
        """Every worker."""
        return tuple(self._workers.values())

    def worker_of(self, key: Key) -> PodWorker | None:
        """The worker of the Pod that has this name now."""
        return self._workers.get(self._by_key.get(key, ""))

    def running(self, revision: str) -> Sandbox | None:
        """The sandbox of some Pod of a revision that is not ending."""
        for worker in self._workers.values():
            if worker.context.revision == revision and not worker.ending:
                annotation = worker.context.pod.metadata.annotation(SANDBOX_ANNOTATION)
                sandbox = worker.sandbox or self._services.host.sandboxes.get(annotation)
                if sandbox is not None and not sandbox.removing:
                    return sandbox
        return None

    def has_replica(self, replica_set: str) -> bool:
        """Whether some Pod of a ReplicaSet (uid) is here, ending ones included."""
        return any(
            replica_set_of(worker.context.pod) == replica_set for worker in self._workers.values()
        )

    # --- events -------------------------------------------------------------------------------------

    def _pod_changed(self, change: Change[Pod]) -> None:
        old, new = change.old, change.new
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            worker = self._workers.get(old.metadata.uid)
            if worker is not None:
                worker.gone()
        spec = new.spec if new is not None else None
        if new is not None and spec is not None and spec.node_name == self._services.node_name:
            self._update(new)

    def _update(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is None:
            worker = self._workers[uid] = PodWorker(self._services, pod)
            self._by_key[pod.key] = uid
            self._scope.start(self._keep(worker), name=f"worker-{pod.key}")
        worker.update(pod)

    async def _keep(self, worker: PodWorker) -> None:
        """Run a worker to its end, again when it fails."""
        attempt = 0
        while True:
            try:
                await worker.run()
                break
            except Exception:  # the worker loop: one Pod's fault must not end the others
                LOG.exception("worker of %s", worker.context.pod.key)
            await self._services.sleep(_RESTART.delay_s(attempt, self._services.rng))
            attempt += 1
        del self._workers[worker.uid]
        key = worker.context.pod.key
        if self._by_key.get(key) == worker.uid:
            del self._by_key[key]

    def _config_map_changed(self, change: Change[ConfigMap]) -> None:
        self._config_changed("ConfigMap", change)

    def _secret_changed(self, change: Change[Secret]) -> None:
        self._config_changed("Secret", change)

    def _claim_changed(self, change: Change[PersistentVolumeClaim]) -> None:
        self._config_changed("PersistentVolumeClaim", change)

    def _account_changed(self, change: Change[ServiceAccount]) -> None:
        """A Pod may wait for a token of an account that has just been made."""
        for worker in self._in_namespace(change.key.namespace):
            name = worker.context.spec.service_account_name or DEFAULT_ACCOUNT
            if change.type == "added" and name == change.key.name:
                worker.config_changed()

    def _config_changed(self, kind: str, change: Change[Resource]) -> None:
        wanted = Reference(kind, change.key.name)
        for worker in self._in_namespace(change.key.namespace):
            if wanted in references(worker.context.spec):
                worker.config_changed()

    def _in_namespace(self, namespace: str) -> Iterator[PodWorker]:
        for worker in self._workers.values():
            if worker.context.pod.metadata.namespace == namespace:
                yield worker


async def remove_unwanted(services: Services, sandboxes: tuple[Sandbox, ...]) -> None:
    """End recovered sandboxes whose Pod is gone. Each on its own: one that resists stays for later."""
    for sandbox in sandboxes:
        try:
            await services.host.remove(sandbox)
        except (KnarrError, OSError):
            LOG.exception("sandbox %s cannot be removed", sandbox.id)


async def sleep(seconds: float) -> None:
    """The real pause; components get it by constructor."""
    await asyncio.sleep(seconds)
