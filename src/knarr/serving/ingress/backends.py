"""Wires the core Services that Ingresses lead to."""

from typing import Any

from knarr.dataplane.backends import ServiceBackends, port_of
from knarr.dataplane.table import RoutingTable
from knarr.kube.cache import Change
from knarr.kube.factory import InformerFactory
from knarr.kube.handlers import Add, LabelIndex, label_value
from knarr.meta.objects import Key
from knarr.resources.core.service import SERVICE, Service
from knarr.resources.discovery.endpointslice import ENDPOINT_SLICE, SERVICE_NAME_LABEL
from knarr.resources.networking.ingress import INGRESS
from knarr.serving.handlers import when_changed
from knarr.serving.ingress.reconciler import BY_REWRITE

BY_SERVICE = "service"
"""Name of the index of EndpointSlices by the Service in their label."""


def service_backends(
    informers: InformerFactory, table: RoutingTable, cluster_domain: str
) -> ServiceBackends:
    """Backends that read from informers, which are not entered yet."""
    slices = informers.informer(ENDPOINT_SLICE)
    slices.add_index(BY_SERVICE, LabelIndex(SERVICE_NAME_LABEL))
    return ServiceBackends(
        table,
        informers.informer(SERVICE).get,
        lambda key: slices.by_index(BY_SERVICE, label_value(key.namespace, key.name)),
        cluster_domain,
    )


def feed_backends(informers: InformerFactory, backends: ServiceBackends, add: Add) -> None:
    """Tell the backends of changes, and enqueue the Ingresses that lead to a Service."""
    ingresses = informers.informer(INGRESS)

    def service(change: Change[Service]) -> None:
        backends.refresh(change.key)
        for key in ingresses.keys_by_index(BY_REWRITE, backends.host_of(change.key)):
            add(key)

    def slice_(change: Change[Any]) -> None:
        for side in (change.old, change.new):
            name = side.metadata.label(SERVICE_NAME_LABEL) if side is not None else ""
            if name:
                backends.refresh(Key(change.key.namespace, name))

    informers.informer(SERVICE).add_handler(when_changed(_offer, service))
    informers.informer(ENDPOINT_SLICE).add_handler(slice_)


def _offer(service: Service) -> object:
    return service.deleting, port_of(service)
