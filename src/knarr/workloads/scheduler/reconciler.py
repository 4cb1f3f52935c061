"""Binds Pods with one write; says by a condition when it cannot.

PodScheduled True is not written here: the node reports it with its first status, and a write of ours at the
same moment would only send that into a conflict.
"""

from typing import Any

import msgspec

from knarr.kits.clock import Clock, format_timestamp
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import Add, label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound, StatusError
from knarr.meta.objects import Key
from knarr.resources.core.node import Node
from knarr.resources.core.pod import POD, Pod, PodStatus
from knarr.resources.core.references import Condition
from knarr.workloads import pods as pods_of
from knarr.workloads.conditions import put
from knarr.workloads.scheduler.claims import ClaimsOfPods
from knarr.workloads.scheduler.plan import NodeLoad, plan_placement, requests_of
from knarr.workloads.volumes.claims import BY_CLAIM, claim_keys

SCHEDULER = "default-scheduler"
UNBOUND = "unbound"
"""Name of the index of Pods that wait for a node; all are filed under the same value."""


def unbound(pod: Pod) -> tuple[str, ...]:
    """Index function: Pods that wait for a node."""
    return (UNBOUND,) if _waits(pod) else ()


def _waits(pod: Pod) -> bool:
    return _is_ours(pod) and not pods_of.node_of(pod) and pods_of.is_active(pod)


def _is_ours(pod: Pod) -> bool:
    """Whether no other scheduler is asked for."""
    return pod.spec is None or pod.spec.scheduler_name in ("", SCHEDULER)


class SchedulerReconciler:
    """Binds each Pod to a node that has room; says why when none has."""

    def __init__(
        self,
        client: Client,
        pods: Informer[Pod],
        nodes: Informer[Node],
        claims: ClaimsOfPods,
        *,
        clock: Clock,
        recorder: EventRecorder,
    ) -> None:
        self._client = client
        self._pods = pods
        self._nodes = nodes
        self._claims = claims
        self._clock = clock
        self._recorder = recorder
        self._load = NodeLoad()
        pods.add_index(UNBOUND, unbound)
        pods.add_index(BY_CLAIM, claim_keys)

    def watch(self, add: Add) -> None:
        """Follow Pods and nodes: new Pods at once, waiting ones when room may have appeared."""

        def pod_changed(change: Change[Pod]) -> None:
            pod = change.new
            if pod is not None and _waits(pod):
                add(change.key)
            elif self._account(change.subject, gone=pod is None):
                self._retry_all(add)

        def node_changed(change: Change[Node]) -> None:
            if change.old is None or change.new is None or _room(change.old) != _room(change.new):
                self._retry_all(add)

        def claim_changed(key: Key) -> None:
            for pod in self._users(key.namespace, key.name):
                if _waits(pod):
                    add(pod.key)

        self._pods.add_handler(pod_changed)
        self._nodes.add_handler(node_changed)
        self._claims.watch(claim_changed)

    def _users(self, namespace: str, claim: str) -> tuple[Pod, ...]:
        return self._pods.by_index(BY_CLAIM, label_value(namespace, claim))

    def _account(self, pod: Pod, *, gone: bool) -> bool:
        """Update the load; whether room appeared."""
        node, uid = pods_of.node_of(pod), pod.metadata.uid
        if gone or not node or pods_of.is_finished(pod):
            return self._load.drop(uid)
        self._load.put(uid, node, requests_of(pod))
        return False

    def _retry_all(self, add: Add) -> None:
        """Room may have appeared: the most important Pods are tried first, then the oldest."""
        waiting = self._pods.by_index(UNBOUND, UNBOUND)
        for pod in sorted(waiting, key=_rank):
            add(pod.key)

    async def reconcile(self, key: Key) -> Result:
        """Bind one Pod, or write why it cannot be."""
        pod = self._pods.get(key)
        if pod is None or not _waits(pod):
            return DONE
        namespace = pod.metadata.namespace
        placement = plan_placement(
            pod,
            self._nodes.list(),
            self._load.used,
            obstacle=self._claims.obstacle(pod, lambda name: self._users(namespace, name)),
            node_obstacle=lambda node: self._claims.node_obstacle(pod, node),
        )
        if placement.node:
            await self._bind(pod, placement.node)
        else:
            await self._refuse(pod, placement.message)
        return DONE

    async def _bind(self, pod: Pod, node: str) -> None:
        # The room is taken before the first await, so that another worker does not give it away.
        self._load.put(pod.metadata.uid, node, requests_of(pod))
        try:
            await self._client.post(POD, pod.key, "binding", _binding(pod, node))
        except NotFound:
            self._load.drop(pod.metadata.uid)
            return
        except StatusError:
            self._load.drop(pod.metadata.uid)
            raise
        message = f"Successfully assigned {pod.key} to {node}"
        self._recorder.record(pod, "Normal", "Scheduled", message)

    async def _refuse(self, pod: Pod, message: str) -> None:
        old = pods_of.condition_of(pod, "PodScheduled")
        if old is not None and (old.status, old.message) == ("False", message):
            return
        self._recorder.record(pod, "Warning", "FailedScheduling", message)
        new = Condition(
            type="PodScheduled",
            status="False",
            reason="Unschedulable",
            message=message,
            last_transition_time=format_timestamp(self._clock.wall()),
        )
        status = pod.status or PodStatus()
        conditions = put(status.conditions, new, touch=True)
        status = msgspec.structs.replace(
            status, conditions=conditions, phase=status.phase or "Pending"
        )
        try:
            updated = await self._client.update_status(
                POD, msgspec.structs.replace(pod, status=status)
            )
        except NotFound:
            return
        self._pods.observe(updated)


def _binding(pod: Pod, node: str) -> dict[str, Any]:
    """The Binding of exactly this Pod in this state: a Pod's nodeName cannot be patched."""
    metadata = {
        "name": pod.metadata.name,
        "uid": pod.metadata.uid,
        "resourceVersion": pod.metadata.resource_version,
    }
    target = {"kind": "Node", "name": node}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}


def _rank(pod: Pod) -> tuple[object, ...]:
    priority = (pod.spec.priority if pod.spec else None) or 0
    return (-priority, pod.metadata.creation_timestamp or "", pod.key)


def _room(node: Node) -> object:
    """What of a node decides about placement."""
    ready = [
        item.status
        for item in (node.status.conditions if node.status else ())
        if item.type == "Ready"
    ]
    blocked = (node.spec.unschedulable, node.spec.taints) if node.spec else (False, ())
    return ready, blocked, node.status.allocatable if node.status else None
