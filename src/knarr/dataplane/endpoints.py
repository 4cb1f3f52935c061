"""Keeps the table's revision entries current: Revisions, PodAutoscalers and Pods in, one delta out.

Fed by informer handlers on the event loop. A change of one Pod costs the replicas of its revision and
nothing else, and is in the table when the handler returns.
"""

from collections.abc import Callable

from knarr.dataplane.compile import (
    REVISION_LABEL,
    Endpoint,
    compile_endpoint,
    compile_revision,
)
from knarr.dataplane.table import RoutingTable
from knarr.meta.objects import Key
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler
from knarr.resources.core.pod import Pod
from knarr.resources.serving.revision import Revision

ReplicasListener = Callable[[Key], None]


class Endpoints:
    """The replicas of every revision.

    Args:
        table: where entries go.
        revision_of, autoscaler_of: the objects as their informers hold them now, or None.
    """

    def __init__(
        self,
        table: RoutingTable,
        revision_of: Callable[[Key], Revision | None],
        autoscaler_of: Callable[[Key], PodAutoscaler | None],
    ) -> None:
        self._table = table
        self._revision_of = revision_of
        self._autoscaler_of = autoscaler_of
        self._endpoints: dict[Key, dict[str, Endpoint]] = {}
        self._listeners: list[ReplicasListener] = []

    def on_replicas(self, listener: ReplicasListener) -> None:
        """Call ``listener`` with a revision's key whenever its set of replicas changes."""
        self._listeners.append(listener)

    def ready(self, revision: str) -> int:
        """How many replicas a revision (``namespace/name``) has now."""
        namespace, _, name = revision.partition("/")
        return len(self._endpoints.get(Key(namespace, name), ()))

    def replicas(self, revision: Key) -> dict[str, Endpoint]:
        """The replicas of a revision by the names of their Pods."""
        return self._endpoints.get(revision, {})

    def pod_changed(self, pod: Pod) -> None:
        """A Pod was added or changed."""
        self._put(pod, compile_endpoint(pod))

    def pod_deleted(self, pod: Pod) -> None:
        """A Pod is gone."""
        self._put(pod, None)

    def _put(self, pod: Pod, endpoint: Endpoint | None) -> None:
        name = pod.metadata.label(REVISION_LABEL)
        if not name:
            return
        revision = Key(pod.metadata.namespace, name)
        known = self._endpoints.get(revision, {})
        if known.get(pod.metadata.name) == endpoint:
            return
        if endpoint is not None:
            self._endpoints.setdefault(revision, {})[pod.metadata.name] = endpoint
        else:
            del known[pod.metadata.name]
            if not known:
                del self._endpoints[revision]
        self.refresh(revision)
        for listener in self._listeners:
            listener(revision)

    def refresh(self, key: Key) -> None:
        """A Revision or its PodAutoscaler changed, came or went: compile its entry again."""
        revision = self._revision_of(key)
        if revision is None or revision.deleting:
            self._table.remove_revision(str(key))
            return
        entry = compile_revision(
            revision, self._autoscaler_of(key), self._endpoints.get(key, {}).values()
        )
        self._table.set_revision(entry)
