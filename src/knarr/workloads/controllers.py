"""Wires the workload controllers; called once, by the composition root."""

from typing import Any

from knarr.kube.cache import Change
from knarr.kube.controller import Controller
from knarr.kube.handlers import BY_OWNER, Add, enqueue_controller, enqueue_self, owner_uids
from knarr.meta.objects import Key, controller_of
from knarr.resources.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.apps.replicaset import REPLICA_SET
from knarr.resources.batch.cronjob import CRON_JOB
from knarr.resources.batch.job import JOB
from knarr.resources.catalog import KINDS
from knarr.resources.core.configmap import CONFIG_MAP
from knarr.resources.core.endpoints import ENDPOINTS
from knarr.resources.core.event import EVENT
from knarr.resources.core.namespace import NAMESPACE
from knarr.resources.core.node import NODE
from knarr.resources.core.persistentvolume import PERSISTENT_VOLUME
from knarr.resources.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from knarr.resources.core.pod import POD
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT
from knarr.resources.discovery.endpointslice import ENDPOINT_SLICE
from knarr.resources.events.event import EVENTS_EVENT
from knarr.resources.storage.storageclass import STORAGE_CLASS
from knarr.workloads.access import build_access_controllers
from knarr.workloads.adoption import ORPHANS, enqueue_adopters, orphan_keys
from knarr.workloads.cronjob import CronJobReconciler
from knarr.workloads.customresources import CustomKinds
from knarr.workloads.deployment import DeploymentReconciler
from knarr.workloads.endpoints import EndpointsReconciler
from knarr.workloads.environment import Environment
from knarr.workloads.events.reconciler import SWEEP, EventSweeper
from knarr.workloads.garbagecollector import GarbageCollector
from knarr.workloads.garbagecollector.customkinds import CustomCollector
from knarr.workloads.garbagecollector.graph import Graph
from knarr.workloads.job import JobReconciler
from knarr.workloads.namespaces import NamespaceReconciler
from knarr.workloads.policies import build_policy_controllers
from knarr.workloads.replicaset import ReplicaSetReconciler
from knarr.workloads.scheduler import SchedulerReconciler
from knarr.workloads.scheduler.claims import ClaimsOfPods
from knarr.workloads.sets import build_set_controllers

__all__ = ["Environment", "build_workload_controllers"]

_NOT_COLLECTED = (EVENT, EVENTS_EVENT)
"""Kinds without owners that are too many to cache; they go by age and with their namespace."""


def build_workload_controllers(environment: Environment) -> list[Controller]:
    """All of them, wired to their informers. Enter the informers first, then the controllers."""
    customs = CustomKinds(environment.informers, KINDS)
    return [
        _deployments(environment),
        _replica_sets(environment),
        _cron_jobs(environment),
        _jobs(environment),
        _endpoints(environment),
        _scheduler(environment),
        _namespaces(environment, customs),
        _events(environment),
        *build_policy_controllers(environment),
        *build_set_controllers(environment),
        *build_access_controllers(environment),
        *_collectors(environment, customs),
    ]


def _deployments(environment: Environment) -> Controller:
    deployments = environment.informers.informer(DEPLOYMENT)
    replica_sets = environment.informers.informer(REPLICA_SET)
    pods = environment.informers.informer(POD)
    replica_sets.add_index(BY_OWNER, owner_uids)
    pods.add_index(BY_OWNER, owner_uids)
    reconciler = DeploymentReconciler(
        client=environment.client,
        deployments=deployments,
        replica_sets=replica_sets,
        pods=pods,
        clock=environment.clock,
        recorder=environment.recorder,
    )
    controller = environment.controller("deployments", reconciler, workers=8)

    def pod_gone(change: Change[Any]) -> None:
        # Recreate waits for the last Pod of the old template.
        owner = controller_of(change.subject) if change.new is None else None
        replica_set = (
            replica_sets.get(Key(change.key.namespace, owner.name)) if owner is not None else None
        )
        parent = controller_of(replica_set) if replica_set is not None else None
        if parent is not None:
            controller.enqueue(Key(change.key.namespace, parent.name))

    replica_sets.add_index(ORPHANS, orphan_keys)
    replica_sets.add_handler(enqueue_adopters(controller.enqueue, deployments))
    deployments.add_handler(enqueue_self(controller.enqueue))
    replica_sets.add_handler(enqueue_controller(controller.enqueue, DEPLOYMENT))
    pods.add_handler(pod_gone)
    return controller


def _replica_sets(environment: Environment) -> Controller:
    replica_sets = environment.informers.informer(REPLICA_SET)
    pods = environment.informers.informer(POD)
    pods.add_index(BY_OWNER, owner_uids)
    reconciler = ReplicaSetReconciler(
        client=environment.client,
        replica_sets=replica_sets,
        pods=pods,
        clock=environment.clock,
        recorder=environment.recorder,
    )
    controller = environment.controller("replicasets", reconciler, workers=8)
    pods.add_index(ORPHANS, orphan_keys)
    pods.add_handler(enqueue_adopters(controller.enqueue, replica_sets))
    replica_sets.add_handler(enqueue_self(controller.enqueue))
    pods.add_handler(enqueue_controller(controller.enqueue, REPLICA_SET))
    return controller


def _cron_jobs(environment: Environment) -> Controller:
    reconciler = CronJobReconciler(
        client=environment.client,
        cron_jobs=environment.informers.informer(CRON_JOB),
        jobs=environment.informers.informer(JOB),
        clock=environment.clock,
        recorder=environment.recorder,
    )
    controller = environment.controller("cronjobs", reconciler, workers=2)
    reconciler.watch(controller.enqueue)
    return controller


def _jobs(environment: Environment) -> Controller:
    reconciler = JobReconciler(
        client=environment.client,
        jobs=environment.informers.informer(JOB),
        pods=environment.informers.informer(POD),
        clock=environment.clock,
        recorder=environment.recorder,
    )
    controller = environment.controller("jobs", reconciler, workers=4)
    reconciler.watch(controller.enqueue)
    return controller


def _endpoints(environment: Environment) -> Controller:
    informer = environment.informers.informer
    reconciler = EndpointsReconciler(
        client=environment.client,
        services=informer(CORE_SERVICE),
        pods=informer(POD),
        endpoints=informer(ENDPOINTS),
        slices=informer(ENDPOINT_SLICE),
    )
    controller = environment.controller("endpoints", reconciler, workers=4)
    reconciler.watch(controller.enqueue)
    return controller


def _scheduler(environment: Environment) -> Controller:
    reconciler = SchedulerReconciler(
        environment.client,
        environment.informers.informer(POD),
        environment.informers.informer(NODE),
        ClaimsOfPods(
            environment.informers.informer(PERSISTENT_VOLUME_CLAIM),
            environment.informers.informer(PERSISTENT_VOLUME),
            environment.informers.informer(STORAGE_CLASS),
        ),
        clock=environment.clock,
        recorder=environment.recorder,
    )
    controller = environment.controller("scheduler", reconciler, workers=8)
    reconciler.watch(controller.enqueue)
    return controller


def _namespaces(environment: Environment, customs: CustomKinds) -> Controller:
    informers = environment.informers
    reconciler = NamespaceReconciler(
        environment.client,
        informers.informer(NAMESPACE),
        informers.informer(SERVICE_ACCOUNT),
        informers.informer(CONFIG_MAP),
        contents=[
            informers.informer(kind)
            for kind in KINDS
            if kind.namespaced and kind not in _NOT_COLLECTED
        ],
        ca_pem=environment.ca_pem,
        clock=environment.clock,
    )
    controller = environment.controller("namespaces", reconciler, workers=2)
    reconciler.watch(controller.enqueue)
    customs.add_handler(reconciler.come, reconciler.go)
    return controller


def _events(environment: Environment) -> Controller:
    sweeper = EventSweeper(environment.client, environment.clock)
    controller = environment.controller("events", sweeper, workers=1)
    controller.enqueue(SWEEP)
    return controller


def _collectors(environment: Environment, customs: CustomKinds) -> list[Controller]:
    # of definitions their owners matter and not their schemas
    kinds = [kind for kind in KINDS if kind not in (*_NOT_COLLECTED, CUSTOM_RESOURCE_DEFINITION)]
    informers = [environment.informers.informer(kind) for kind in kinds]
    graph = Graph([*informers, customs.definitions])
    controllers: list[Controller] = []
    queues: dict[str, Add] = {}
    collectors: list[GarbageCollector] = []
    for informer in graph.informers:
        collector = GarbageCollector(environment.client, informer, graph)
        name = informer.kind.qualified_plural
        controller = environment.controller(f"gc-{name}", collector, workers=2)
        collectors.append(collector)
        controllers.append(controller)
        queues[name] = controller.enqueue
    for collector in collectors:
        collector.watch(queues)
    custom = CustomCollector(environment.client, graph, queues)
    controller = environment.controller("gc-custom", custom, workers=4)
    custom.watch(controller.enqueue)
    customs.add_handler(custom.come, custom.go)
    return [*controllers, controller]
