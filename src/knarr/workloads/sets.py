"""Wires the controllers of StatefulSets and DaemonSets."""

from knarr.kube.cache import Change
from knarr.kube.controller import Controller
from knarr.kube.handlers import BY_OWNER, enqueue_controller, enqueue_self, owner_uids
from knarr.resources.apps.controllerrevision import CONTROLLER_REVISION
from knarr.resources.apps.daemonset import DAEMON_SET
from knarr.resources.apps.statefulset import STATEFUL_SET
from knarr.resources.core.node import NODE, Node
from knarr.resources.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from knarr.resources.core.pod import POD
from knarr.workloads.daemonset import DaemonSetReconciler
from knarr.workloads.environment import Environment
from knarr.workloads.revisionkeeper import RevisionKeeper
from knarr.workloads.statefulset import StatefulSetReconciler


def build_set_controllers(environment: Environment) -> list[Controller]:
    """Both, wired to their informers."""
    informer = environment.informers.informer
    revisions, pods = informer(CONTROLLER_REVISION), informer(POD)
    revisions.add_index(BY_OWNER, owner_uids)
    pods.add_index(BY_OWNER, owner_uids)
    keeper = RevisionKeeper(environment.client, revisions)
    return [_stateful_sets(environment, keeper), _daemon_sets(environment, keeper)]


def _stateful_sets(environment: Environment, keeper: RevisionKeeper) -> Controller:
    informer = environment.informers.informer
    reconciler = StatefulSetReconciler(
        client=environment.client,
        sets=informer(STATEFUL_SET),
        pods=informer(POD),
        claims=informer(PERSISTENT_VOLUME_CLAIM),
        keeper=keeper,
        clock=environment.clock,
        recorder=environment.recorder,
    )
    controller = environment.controller("statefulsets", reconciler, workers=4)
    reconciler.sets.add_handler(enqueue_self(controller.enqueue))
    reconciler.pods.add_handler(enqueue_controller(controller.enqueue, STATEFUL_SET))
    return controller


def _daemon_sets(environment: Environment, keeper: RevisionKeeper) -> Controller:
    informer = environment.informers.informer
    reconciler = DaemonSetReconciler(
        client=environment.client,
        sets=informer(DAEMON_SET),
        pods=informer(POD),
        nodes=informer(NODE),
        keeper=keeper,
        clock=environment.clock,
        recorder=environment.recorder,
    )
    controller = environment.controller("daemonsets", reconciler, workers=2)

    def node_changed(change: Change[Node]) -> None:
        if change.old is not None and change.new is not None and _same(change.old, change.new):
            return
        for owner in reconciler.sets.list():
            controller.enqueue(owner.key)

    reconciler.sets.add_handler(enqueue_self(controller.enqueue))
    reconciler.pods.add_handler(enqueue_controller(controller.enqueue, DAEMON_SET))
    reconciler.nodes.add_handler(node_changed)
    return controller


def _same(old: Node, new: Node) -> bool:
    """Whether a node's heartbeat changed nothing that decides about Pods."""
    return (old.metadata.labels, old.spec, old.deleting) == (
        new.metadata.labels,
        new.spec,
        new.deleting,
    )
