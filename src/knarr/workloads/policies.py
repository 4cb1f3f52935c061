"""Wires the controllers of storage, quotas and budgets."""

from knarr.kube.controller import Controller
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.apps.replicaset import REPLICA_SET
from knarr.resources.apps.statefulset import STATEFUL_SET
from knarr.resources.catalog import KINDS
from knarr.resources.core.event import EVENT
from knarr.resources.core.persistentvolume import PERSISTENT_VOLUME
from knarr.resources.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from knarr.resources.core.pod import POD
from knarr.resources.core.resourcequota import RESOURCE_QUOTA
from knarr.resources.policy.poddisruptionbudget import POD_DISRUPTION_BUDGET
from knarr.resources.storage.storageclass import STORAGE_CLASS
from knarr.workloads.disruption import DisruptionReconciler
from knarr.workloads.environment import Environment
from knarr.workloads.quotas import QuotaReconciler
from knarr.workloads.volumes import ClaimReconciler, VolumeReconciler


def build_policy_controllers(environment: Environment) -> list[Controller]:
    """All of them, wired to their informers."""
    return [
        _claims(environment),
        _volumes(environment),
        _quotas(environment),
        _budgets(environment),
    ]


def _claims(environment: Environment) -> Controller:
    informer = environment.informers.informer
    reconciler = ClaimReconciler(
        client=environment.client,
        claims=informer(PERSISTENT_VOLUME_CLAIM),
        volumes=informer(PERSISTENT_VOLUME),
        classes=informer(STORAGE_CLASS),
        pods=informer(POD),
        clock=environment.clock,
        recorder=environment.recorder,
    )
    # One worker: two claims must not take the same volume.
    controller = environment.controller("claims", reconciler, workers=1)
    reconciler.watch(controller.enqueue)
    return controller


def _volumes(environment: Environment) -> Controller:
    informer = environment.informers.informer
    reconciler = VolumeReconciler(
        client=environment.client,
        volumes=informer(PERSISTENT_VOLUME),
        claims=informer(PERSISTENT_VOLUME_CLAIM),
        clock=environment.clock,
    )
    controller = environment.controller("persistentvolumes", reconciler, workers=2)
    reconciler.watch(controller.enqueue)
    return controller


def _quotas(environment: Environment) -> Controller:
    informer = environment.informers.informer
    counted = {
        kind.qualified_plural: informer(kind)
        for kind in KINDS
        if kind.namespaced and kind.stored_as is None and kind is not EVENT
    }
    reconciler = QuotaReconciler(
        environment.client, informer(RESOURCE_QUOTA), counted, environment.clock
    )
    controller = environment.controller("quotas", reconciler, workers=2)
    reconciler.watch(controller.enqueue)
    return controller


def _budgets(environment: Environment) -> Controller:
    informer = environment.informers.informer
    reconciler = DisruptionReconciler(
        client=environment.client,
        budgets=informer(POD_DISRUPTION_BUDGET),
        pods=informer(POD),
        scalable={kind.kind: informer(kind) for kind in (DEPLOYMENT, REPLICA_SET, STATEFUL_SET)},
        clock=environment.clock,
    )
    controller = environment.controller("budgets", reconciler, workers=2)
    reconciler.watch(controller.enqueue)
    return controller
