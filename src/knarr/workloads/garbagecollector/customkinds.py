"""The garbage collector of kinds that come and go: one queue for all of them."""

from typing import Any

from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add
from knarr.kube.informer import Informer
from knarr.meta.objects import Key
from knarr.workloads.garbagecollector.graph import Graph
from knarr.workloads.garbagecollector.reconciler import GarbageCollector

_BETWEEN = "|"


def ticket(resource: str, key: Key) -> Key:
    """A queue's key for an object of one of several kinds.

    Args:
        resource: qualified plural of the kind.
        key: of the object; no name of Kubernetes' contains a bar.
    """
    return Key(f"{resource}{_BETWEEN}{key.namespace}", key.name)


def opened(key: Key) -> tuple[str, Key]:
    """The inverse of ``ticket``; no resource for anything else."""
    resource, bar, namespace = key.namespace.partition(_BETWEEN)
    return (resource, Key(namespace, key.name)) if bar else ("", key)


class CustomCollector:
    """Collects the objects of all custom kinds.

    Args:
        client: for writing.
        graph: shared by the collectors of all kinds.
        queues: of the collectors of all kinds, by qualified plural; those of custom kinds are put there.
    """

    def __init__(self, client: Client, graph: Graph, queues: dict[str, Add]) -> None:
        self._client = client
        self._graph = graph
        self._queues = queues
        self._collectors: dict[str, GarbageCollector] = {}
        self._add: Add = lambda _: None

    def watch(self, add: Add) -> None:
        """Take the queue."""
        self._add = add

    def come(self, informer: Informer[Any]) -> None:
        """A kind has come."""
        resource = informer.kind.qualified_plural
        collector = GarbageCollector(self._client, informer, self._graph)
        self._graph.add(informer)
        self._collectors[resource] = collector
        self._queues[resource] = lambda key: self._add(ticket(resource, key))
        collector.watch(self._queues)
        for other, key in self._graph.take_strangers(informer.kind):
            if other in self._queues:
                self._queues[other](key)

    def go(self, informer: Informer[Any]) -> None:
        """A kind has gone."""
        resource = informer.kind.qualified_plural
        self._graph.remove(informer)
        self._collectors.pop(resource, None)
        self._queues.pop(resource, None)

    async def reconcile(self, key: Key) -> Result:
        """Decide about one object."""
        resource, own = opened(key)
        collector = self._collectors.get(resource)
        return await collector.reconcile(own) if collector is not None else DONE
