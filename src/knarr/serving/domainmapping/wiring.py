"""Wires DomainMappings: which changes concern which of them."""

from collections.abc import Callable
from typing import Any

from knarr.kits.clock import Clock
from knarr.kube.cache import Change, Handler
from knarr.kube.controller import Controller, Reconciler
from knarr.kube.factory import InformerFactory
from knarr.kube.handlers import Add, enqueue_controller, enqueue_self
from knarr.kube.informer import Informer
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.core.service import Service as CoreService
from knarr.resources.kind import Kind
from knarr.resources.networking.clusterdomainclaim import CLUSTER_DOMAIN_CLAIM
from knarr.resources.networking.ingress import INGRESS
from knarr.resources.serving.domainmapping import DOMAIN_MAPPING, DomainMapping
from knarr.resources.serving.route import ROUTE, Route
from knarr.resources.serving.service import SERVICE, Service
from knarr.serving.config import ConfigStore, Recorder
from knarr.serving.domainmapping.reconciler import DomainMappingReconciler
from knarr.serving.domainmapping.references import (
    BY_DOMAIN,
    BY_REFERENCE,
    address_of,
    domains_of,
    reference_value,
    references_of,
)
from knarr.serving.handlers import add_all, when_changed
from knarr.serving.writes import Writer


def domain_mapping_controller(
    informers: InformerFactory,
    writer: Writer,
    config: ConfigStore,
    recorder: Recorder,
    clock: Clock,
    make: Callable[[str, Reconciler], Controller],
) -> Controller:
    """The controller, not entered yet.

    Args:
        informers: not entered yet.
        writer: to the API.
        config: the ConfigMaps.
        recorder: for Events.
        clock: for transition times.
        make: from a name and a reconciler.
    """
    informer = informers.informer
    mappings = informer(DOMAIN_MAPPING)
    mappings.add_index(BY_REFERENCE, references_of)
    mappings.add_index(BY_DOMAIN, domains_of)
    controller = make(
        "domainmapping",
        DomainMappingReconciler(
            writer=writer,
            mappings=mappings,
            claims=informer(CLUSTER_DOMAIN_CLAIM),
            ingresses=informer(INGRESS),
            services=informer(SERVICE),
            routes=informer(ROUTE),
            core_services=informer(CORE_SERVICE),
            config=config,
            recorder=recorder,
            clock=clock,
        ),
    )
    add = controller.enqueue

    def claimed(change: Change[Any]) -> None:
        for key in mappings.keys_by_index(BY_DOMAIN, change.key.name):
            add(key)

    mappings.add_handler(enqueue_self(add))
    informer(CLUSTER_DOMAIN_CLAIM).add_handler(claimed)
    informer(INGRESS).add_handler(enqueue_controller(add, DOMAIN_MAPPING))
    services = _enqueue_mapped(mappings, SERVICE, add)
    informer(SERVICE).add_handler(when_changed(_address, services))
    routes = _enqueue_mapped(mappings, ROUTE, add)
    informer(ROUTE).add_handler(when_changed(_address, routes))
    named = _enqueue_mapped(mappings, CORE_SERVICE, add)
    informer(CORE_SERVICE).add_handler(when_changed(_existence, named))
    config.on_change(add_all(mappings, add))
    return controller


def _enqueue_mapped(mappings: Informer[DomainMapping], kind: Kind[Any], add: Add) -> Handler[Any]:
    def handle(change: Change[Any]) -> None:
        value = reference_value(kind.api_version, kind.kind, change.key)
        for key in mappings.keys_by_index(BY_REFERENCE, value):
            add(key)

    return handle


def _address(subject: Service | Route) -> object:
    return address_of(subject.status)


def _existence(_: CoreService) -> object:
    return None
