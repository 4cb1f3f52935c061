"""Wires Serving together; called once, by the composition root.

Order of life: enter the informers, then ``serving`` (digests, autoscaler), then call ``started`` so that
the routing table may be told to gateways, then enter the controllers.
"""

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from knarr.dataplane.endpoints import Endpoints
from knarr.dataplane.following import rewritten_hosts
from knarr.dataplane.table import RoutingTable
from knarr.kits.clock import Clock
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import Controller, Reconciler
from knarr.kube.factory import InformerFactory
from knarr.kube.handlers import (
    LabelIndex,
    enqueue_controller,
    enqueue_label,
    enqueue_self,
)
from knarr.meta.objects import Key
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.autoscaling.podautoscaler import POD_AUTOSCALER
from knarr.resources.core.configmap import CONFIG_MAP
from knarr.resources.core.pod import POD
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT
from knarr.resources.networking.ingress import INGRESS, Ingress
from knarr.resources.serving.configuration import CONFIGURATION
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.route import ROUTE
from knarr.resources.serving.service import SERVICE
from knarr.serving import labels
from knarr.serving.autoscaler.autoscaler import Autoscaler
from knarr.serving.config import ConfigStore, Recorder, ServingSettings
from knarr.serving.configuration import ConfigurationReconciler
from knarr.serving.configuration.reconciler import BY_CONFIGURATION
from knarr.serving.domainmapping.wiring import domain_mapping_controller
from knarr.serving.gc import RevisionCollector
from knarr.serving.handlers import (
    BY_TARGET,
    add_all,
    add_known,
    enqueue_referring,
    pod_trouble,
    readiness,
    routing_state,
    targets_of,
    wanted_replicas,
    when_changed,
)
from knarr.serving.ingress import IngressReconciler
from knarr.serving.ingress.backends import feed_backends, service_backends
from knarr.serving.ingress.plan import hosts_of
from knarr.serving.ingress.reconciler import BY_HOST, BY_REWRITE
from knarr.serving.labeler import LabelerReconciler
from knarr.serving.labeler.reconciler import BY_ROUTES, route_values
from knarr.serving.podautoscaler import PodAutoscalerReconciler
from knarr.serving.podautoscaler.reconciler import IdlePicker
from knarr.serving.revision import BackgroundDigests, DigestResolver, RevisionReconciler
from knarr.serving.revision.reconciler import BY_REVISION
from knarr.serving.route import RouteReconciler
from knarr.serving.route.reconciler import BY_ROUTE
from knarr.serving.service import ServiceReconciler
from knarr.serving.writes import Writer

WORKERS = 16
"""Per controller: passes wait for commits together, and the store makes one commit of many waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What Serving needs.

    Attributes:
        client: to the API.
        informers: not entered yet.
        clock, rng: time and randomness.
        recorder: for Events.
        table: the routing table; its sessions are somebody else's.
        digests: resolves images.
        picker: names idle replicas; the session server.
        settings: what the composition root decides.
    """

    client: Client
    informers: InformerFactory
    clock: Clock
    rng: random.Random
    recorder: Recorder
    table: RoutingTable
    digests: DigestResolver
    picker: IdlePicker
    settings: ServingSettings = field(default_factory=ServingSettings)


class Serving:
    """The parts that live beside the controllers; an async context manager.

    Attributes:
        controllers: to be entered after the informers are synced.
        autoscaler: a traffic sink of the session server; its decisions are there to be explained.
        endpoints: feeds the routing table.
        config: the ConfigMaps as they are now.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.config = ConfigStore(environment.settings, environment.recorder)
        self.endpoints = Endpoints(
            environment.table,
            environment.informers.informer(REVISION).get,
            environment.informers.informer(POD_AUTOSCALER).get,
        )
        self.autoscaler = Autoscaler(
            environment.clock, self.endpoints.ready, lambda: environment.table.gateways
        )
        self._digests = BackgroundDigests(environment.digests, environment.clock, environment.rng)
        self._exit = AsyncExitStack()
        self.controllers = self._build()

    async def __aenter__(self) -> Self:
        await self._exit.enter_async_context(self._digests)
        await self._exit.enter_async_context(self.autoscaler)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exit.__aexit__(kind, error, trace)

    # --- wiring -------------------------------------------------------------------------------------

    def _controller(self, name: str, reconciler: Reconciler, workers: int = WORKERS) -> Controller:
        env = self._environment
        return Controller(name, reconciler, clock=env.clock, rng=env.rng, workers=workers)

    def _build(self) -> list[Controller]:
        env = self._environment
        informers = env.informers
        configmaps = informers.informer(CONFIG_MAP, namespace=env.settings.system_namespace)
        configmaps.add_handler(self.config.handle)
        informers.informer(REVISION).add_index(BY_CONFIGURATION, LabelIndex(labels.CONFIGURATION))
        informers.informer(REVISION).add_index(BY_ROUTES, route_values)
        informers.informer(CONFIGURATION).add_index(BY_ROUTES, route_values)
        informers.informer(POD).add_index(BY_REVISION, LabelIndex(labels.REVISION))
        informers.informer(CORE_SERVICE).add_index(BY_ROUTE, LabelIndex(labels.ROUTE))
        informers.informer(INGRESS).add_index(BY_HOST, hosts_of)
        informers.informer(INGRESS).add_index(BY_REWRITE, rewritten_hosts)
        informers.informer(ROUTE).add_index(BY_TARGET, targets_of)
        # The table first: whoever is enqueued by the same change finds it up to date.
        self._feed_table()
        writer = Writer(env.client, env.clock)
        return [
            self._service(writer),
            self._configuration(writer),
            self._revision(writer),
            self._route(writer),
            self._ingress(writer),
            self._labeler(writer),
            self._pod_autoscaler(writer),
            self._collector(writer),
            domain_mapping_controller(
                informers, writer, self.config, env.recorder, env.clock, self._controller
            ),
        ]

    def _feed_table(self) -> None:
        informers, endpoints = self._environment.informers, self.endpoints

        def pod(change: Change[Any]) -> None:
            if change.new is None:
                endpoints.pod_deleted(change.subject)
            else:
                endpoints.pod_changed(change.new)

        def other(change: Change[Any]) -> None:
            endpoints.refresh(change.key)

        informers.informer(REVISION).add_handler(other)
        informers.informer(POD_AUTOSCALER).add_handler(other)
        informers.informer(POD).add_handler(pod)

    def _service(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer
        controller = self._controller(
            "service",
            ServiceReconciler(
                writer=writer,
                services=informer(SERVICE),
                configurations=informer(CONFIGURATION),
                routes=informer(ROUTE),
                revisions=informer(REVISION),
                recorder=env.recorder,
                clock=env.clock,
            ),
        )
        informer(SERVICE).add_handler(enqueue_self(controller.enqueue))
        # Both children have the Service's name; a foreign one that goes frees it.
        existing = add_known(informer(SERVICE), controller.enqueue)
        informer(CONFIGURATION).add_handler(enqueue_self(existing))
        informer(ROUTE).add_handler(enqueue_self(existing))
        return controller

    def _configuration(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer
        controller = self._controller(
            "configuration",
            ConfigurationReconciler(
                writer=writer,
                configurations=informer(CONFIGURATION),
                revisions=informer(REVISION),
                recorder=env.recorder,
                clock=env.clock,
            ),
        )
        informer(CONFIGURATION).add_handler(enqueue_self(controller.enqueue))
        informer(REVISION).add_handler(enqueue_controller(controller.enqueue, CONFIGURATION))
        return controller

    def _revision(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer
        controller = self._controller(
            "revision",
            RevisionReconciler(
                writer=writer,
                revisions=informer(REVISION),
                deployments=informer(DEPLOYMENT),
                autoscalers=informer(POD_AUTOSCALER),
                pods=informer(POD),
                accounts=informer(SERVICE_ACCOUNT),
                digests=self._digests,
                config=self.config,
                recorder=env.recorder,
                clock=env.clock,
            ),
        )
        self._digests.on_answer(controller.enqueue)
        informer(REVISION).add_handler(enqueue_self(controller.enqueue))
        informer(DEPLOYMENT).add_handler(enqueue_controller(controller.enqueue, REVISION))
        informer(POD_AUTOSCALER).add_handler(enqueue_controller(controller.enqueue, REVISION))
        known = add_known(informer(REVISION), controller.enqueue)
        troubled = when_changed(pod_trouble, enqueue_label(known, labels.REVISION))
        informer(POD).add_handler(troubled)
        self.config.on_change(add_all(informer(REVISION), controller.enqueue))
        return controller

    def _route(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer
        routes = informer(ROUTE)
        controller = self._controller(
            "route",
            RouteReconciler(
                writer=writer,
                routes=routes,
                configurations=informer(CONFIGURATION),
                revisions=informer(REVISION),
                ingresses=informer(INGRESS),
                services=informer(CORE_SERVICE),
                config=self.config,
                recorder=env.recorder,
                clock=env.clock,
            ),
        )

        routes.add_handler(enqueue_self(controller.enqueue))
        add = controller.enqueue
        informer(CONFIGURATION).add_handler(enqueue_referring(routes, "Configuration", add))
        informer(REVISION).add_handler(
            when_changed(readiness, enqueue_referring(routes, "Revision", add))
        )
        informer(INGRESS).add_handler(enqueue_controller(controller.enqueue, ROUTE))
        informer(CORE_SERVICE).add_handler(enqueue_label(add_known(routes, add), labels.ROUTE))
        self.config.on_change(add_all(routes, add))
        return controller

    def _ingress(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer(INGRESS)
        backends = service_backends(env.informers, env.table, env.settings.cluster_domain)
        reconciler = IngressReconciler(
            writer=writer,
            ingresses=informer,
            table=env.table,
            backends=backends,
            settings=env.settings,
            clock=env.clock,
        )
        controller = self._controller("ingress", reconciler)
        reconciler.listen(controller.enqueue)

        def sharing(change: Change[Ingress]) -> None:
            controller.enqueue(change.key)
            before = hosts_of(change.old) if change.old is not None else ()
            after = hosts_of(change.new) if change.new is not None else ()
            # Hosts that are given up may be claimed by others.
            for host in set(before) - set(after):
                for key in informer.keys_by_index(BY_HOST, host):
                    controller.enqueue(key)
            # Whoever leads to a host takes over its paths.
            for host in {*before, *after}:
                for key in informer.keys_by_index(BY_REWRITE, host):
                    controller.enqueue(key)

        informer.add_handler(sharing)
        feed_backends(env.informers, backends, controller.enqueue)
        return controller

    def _labeler(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer
        routes = informer(ROUTE)
        controller = self._controller(
            "labeler",
            LabelerReconciler(
                writer=writer,
                routes=routes,
                configurations=informer(CONFIGURATION),
                revisions=informer(REVISION),
                clock=env.clock,
            ),
        )

        routes.add_handler(enqueue_self(controller.enqueue))
        add = controller.enqueue
        informer(CONFIGURATION).add_handler(enqueue_referring(routes, "Configuration", add))
        informer(REVISION).add_handler(enqueue_referring(routes, "Revision", add))
        return controller

    def _pod_autoscaler(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer
        controller = self._controller(
            "podautoscaler",
            PodAutoscalerReconciler(
                writer=writer,
                autoscalers=informer(POD_AUTOSCALER),
                deployments=informer(DEPLOYMENT),
                pods=informer(POD),
                autoscaler=self.autoscaler,
                picker=env.picker,
                in_path=env.table.is_acknowledged,
                config=self.config,
                clock=env.clock,
            ),
        )

        def replicas(key: Key) -> None:
            self.autoscaler.wake(key)
            known(key)

        known = add_known(informer(POD_AUTOSCALER), controller.enqueue)
        informer(POD_AUTOSCALER).add_handler(enqueue_self(controller.enqueue))
        informer(DEPLOYMENT).add_handler(
            when_changed(wanted_replicas, enqueue_label(known, labels.REVISION))
        )
        self.endpoints.on_replicas(replicas)
        self.autoscaler.on_change(controller.enqueue)
        self.config.on_change(add_all(informer(POD_AUTOSCALER), controller.enqueue))
        return controller

    def _collector(self, writer: Writer) -> Controller:
        env = self._environment
        informer = env.informers.informer
        controller = self._controller(
            "revision-gc",
            RevisionCollector(
                writer=writer,
                configurations=informer(CONFIGURATION),
                revisions=informer(REVISION),
                config=self.config,
                clock=env.clock,
            ),
            workers=1,
        )
        informer(CONFIGURATION).add_handler(enqueue_self(controller.enqueue))
        informer(REVISION).add_handler(
            when_changed(routing_state, enqueue_controller(controller.enqueue, CONFIGURATION))
        )
        self.config.on_change(add_all(informer(CONFIGURATION), controller.enqueue))
        return controller
