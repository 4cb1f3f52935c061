"""Writes what ``plan_endpoints`` and ``plan_slices`` decide."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add, LabelIndex, enqueue_label, enqueue_self, label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, NotFound
from knarr.meta.objects import Key, Resource, controller_of
from knarr.resources.core.endpoints import ENDPOINTS, Endpoints
from knarr.resources.core.pod import Pod
from knarr.resources.core.service import Service
from knarr.resources.discovery.endpointslice import (
    ENDPOINT_SLICE,
    SERVICE_NAME_LABEL,
    EndpointSlice,
)
from knarr.workloads.endpoints.candidates import (
    Candidate,
    candidates_of,
    facet,
    matches,
    selects,
)
from knarr.workloads.endpoints.slices import MANAGED_BY_LABEL, MANAGER, plan_slices
from knarr.workloads.endpoints.subsets import plan_endpoints

SELECTING = "selecting"
"""Index of the Services whose endpoints follow Pods, by namespace."""
BY_SERVICE = "service"


def selecting_namespace(subject: Resource) -> Iterable[str]:
    """Index function: the namespace of a Service that selects Pods."""
    if isinstance(subject, Service) and selects(subject):
        return (subject.metadata.namespace,)
    return ()


@dataclass(frozen=True, slots=True)
class EndpointsReconciler:
    """Keeps the Endpoints and EndpointSlices of Services; the keys are those of Services.

    They are owned by their Service: the garbage collector takes them when it is gone.
    """

    client: Client
    services: Informer[Service]
    pods: Informer[Pod]
    endpoints: Informer[Endpoints]
    slices: Informer[EndpointSlice]

    def watch(self, add: Add) -> None:
        """Follow Services, their Pods, and what is written here, in case somebody else changes it."""
        self.services.add_index(SELECTING, selecting_namespace)
        self.slices.add_index(BY_SERVICE, LabelIndex(SERVICE_NAME_LABEL))

        def pod_changed(change: Change[Any]) -> None:
            sides = [pod for pod in (change.old, change.new) if pod is not None]
            if len(sides) == 2 and facet(sides[0]) == facet(sides[1]):
                return
            for service in self.services.by_index(SELECTING, change.key.namespace):
                if any(matches(service, pod) for pod in sides):
                    add(service.key)

        self.services.add_handler(enqueue_self(add))
        self.pods.add_handler(pod_changed)
        self.endpoints.add_handler(enqueue_self(add))
        self.slices.add_handler(enqueue_label(add, SERVICE_NAME_LABEL))

    async def reconcile(self, key: Key) -> Result:
        """Write what differs."""
        service = self.services.get(key)
        if service is None or service.deleting or not selects(service):
            return DONE
        candidates = candidates_of(service, self.pods.list(key.namespace))
        await self._write_endpoints(service, candidates)
        await self._write_slices(service, candidates)
        return DONE

    async def _write_endpoints(self, service: Service, candidates: tuple[Candidate, ...]) -> None:
        current = self.endpoints.get(service.key)
        desired = plan_endpoints(service, candidates, current)
        if desired is None:
            return
        if current is not None:
            self.endpoints.observe(await self.client.update(ENDPOINTS, desired))
            return
        try:
            written = await self.client.create(ENDPOINTS, desired)
        except AlreadyExists:
            # Somebody else's, which the cache does not have yet: its event brings this key again.
            written = await self.client.get(ENDPOINTS, service.key)
        self.endpoints.observe(written)

    async def _write_slices(self, service: Service, candidates: tuple[Candidate, ...]) -> None:
        plan = plan_slices(service, candidates, self._own_slices(service))
        # An address that moves is rather in two slices for a moment than in none.
        for item in plan.create:
            self.slices.observe(await self.client.create(ENDPOINT_SLICE, item))
        for item in plan.update:
            self.slices.observe(await self.client.update(ENDPOINT_SLICE, item))
        for item in plan.delete:
            await self._delete(item)

    def _own_slices(self, service: Service) -> tuple[EndpointSlice, ...]:
        value = label_value(service.metadata.namespace, service.metadata.name)
        return tuple(
            item
            for item in self.slices.by_index(BY_SERVICE, value)
            if not item.deleting
            and item.metadata.label(MANAGED_BY_LABEL) == MANAGER
            and (owner := controller_of(item)) is not None
            and owner.uid == service.metadata.uid
        )

    async def _delete(self, item: EndpointSlice) -> None:
        uid = item.metadata.uid
        try:
            left = await self.client.delete(ENDPOINT_SLICE, item.key, uid=uid)
        except NotFound:
            left = None
        if left is not None and left.deleting:
            self.slices.observe(left)
        else:
            self.slices.forget(item.key, uid)
