"""The Service ``kubernetes`` in ``default``, by which pods know this server, and where it leads."""

import logging
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from knarr.kits.tasks import TaskScope
from knarr.kube.client import Client
from knarr.meta.errors import NotFound, StatusError
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.endpoints import (
    ENDPOINTS,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
)
from knarr.resources.core.service import SERVICE, Service, ServicePort, ServiceSpec
from knarr.resources.discovery.endpointslice import (
    ENDPOINT_SLICE,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    SlicePort,
)
from knarr.store.store import Store

_log = logging.getLogger(__name__)
KUBERNETES = Key("default", "kubernetes")
_HTTPS = "https"
_CHECK_EVERY_S = 600.0


class KubernetesService:
    """Keeps the Service ``kubernetes``: who deletes it gets it back at once.

    An async context manager; the Service exists when it is entered.

    Args:
        store: tells of deletions.
        client: of the administrator.
        endpoint: address and port; None when pods cannot reach this server.
    """

    def __init__(self, store: Store, client: Client, endpoint: tuple[str, int] | None) -> None:
        self._store = store
        self._client = client
        self._endpoint = endpoint
        self._scope = TaskScope()

    async def __aenter__(self) -> Self:
        """Make the Service.

        Raises:
            StatusError: the API refused.
        """
        await ensure_kubernetes_service(self._client, self._endpoint)
        await self._scope.__aenter__()
        self._scope.start(self._keep(), name="service kubernetes")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._scope.__aexit__(kind, error, trace)

    async def _keep(self) -> None:
        collection, (namespace, name) = SERVICE.qualified_plural, KUBERNETES
        while True:
            watcher = self._store.watch(collection, namespace=namespace, name=name)
            try:
                while True:
                    if self._store.get(collection, KUBERNETES) is None:
                        await self._make_again()
                    if await watcher.next_batch(_CHECK_EVERY_S) is None:
                        break
            finally:
                self._store.unwatch(collection, watcher)

    async def _make_again(self) -> None:
        """A refusal is tried again at the next change, or after ten minutes."""
        try:
            await ensure_kubernetes_service(self._client, self._endpoint)
        except StatusError as error:
            _log.warning("the Service kubernetes cannot be made again yet: %s", error)


async def ensure_kubernetes_service(client: Client, endpoint: tuple[str, int] | None) -> None:
    """Make the Service ``kubernetes`` exist, and lead to where pods reach this server.

    Args:
        client: of the administrator.
        endpoint: address and port; None when pods cannot reach this server.

    Raises:
        StatusError: the API refused.
    """
    metadata = ObjectMeta(
        name=KUBERNETES.name,
        namespace=KUBERNETES.namespace,
        labels={"component": "apiserver", "provider": "kubernetes"},
    )
    target = endpoint[1] if endpoint is not None else 443
    port = ServicePort(name=_HTTPS, port=443, protocol="TCP", target_port=target)
    service = Service(metadata=metadata, spec=ServiceSpec(type="ClusterIP", ports=(port,)))
    try:
        stored = await client.get(SERVICE, KUBERNETES)
    except NotFound:
        await client.create(SERVICE, service)
    else:
        if stored.spec is not None and stored.spec.ports != (port,):
            await client.update(SERVICE, replace(stored, spec=replace(stored.spec, ports=(port,))))
    await _ensure_endpoints(client, endpoint)
    await _ensure_slice(client, endpoint)


async def _ensure_endpoints(client: Client, endpoint: tuple[str, int] | None) -> None:
    subsets: tuple[EndpointSubset, ...] = ()
    if endpoint is not None:
        address, number = endpoint
        subset = EndpointSubset(
            addresses=(EndpointAddress(ip=address),),
            ports=(EndpointPort(name=_HTTPS, port=number, protocol="TCP"),),
        )
        subsets = (subset,)
    # The slice is made here too: a mirror of these Endpoints would be a second one.
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    metadata = ObjectMeta(name=KUBERNETES.name, namespace=KUBERNETES.namespace, labels=labels)
    try:
        stored = await client.get(ENDPOINTS, KUBERNETES)
    except NotFound:
        await client.create(ENDPOINTS, Endpoints(metadata=metadata, subsets=subsets))
    else:
        if stored.subsets != subsets:
            await client.update(ENDPOINTS, replace(stored, subsets=subsets))


async def _ensure_slice(client: Client, endpoint: tuple[str, int] | None) -> None:
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()
    if endpoint is not None:
        address, number = endpoint
        conditions = EndpointConditions(ready=True)
        endpoints = (Endpoint(addresses=(address,), conditions=conditions),)
        ports = (SlicePort(name=_HTTPS, protocol="TCP", port=number),)
    labels = {SERVICE_NAME_LABEL: KUBERNETES.name}
    metadata = ObjectMeta(name=KUBERNETES.name, namespace=KUBERNETES.namespace, labels=labels)
    desired = EndpointSlice(
        metadata=metadata, address_type="IPv4", endpoints=endpoints, ports=ports
    )
    try:
        stored = await client.get(ENDPOINT_SLICE, KUBERNETES)
    except NotFound:
        await client.create(ENDPOINT_SLICE, desired)
    else:
        if (stored.endpoints, stored.ports) != (endpoints, ports):
            await client.update(ENDPOINT_SLICE, replace(stored, endpoints=endpoints, ports=ports))
