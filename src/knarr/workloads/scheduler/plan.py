"""Decides where a Pod runs; pure. The texts are kube-scheduler's."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from knarr.resources.core.container import Container
from knarr.resources.core.node import Node, Taint
from knarr.resources.core.pod import Pod
from knarr.resources.quantity import parse_quantity
from knarr.workloads.scheduler.taints import taint_obstacle, tolerates

PODS = "pods"
Amounts = Mapping[str, int]
"""Amounts by resource: cpu in thousandths, everything else in units."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a Pod goes: a node, or (``node`` empty) the reason why to none."""

    node: str
    message: str = ""


def _amount(resource: str, quantity: str | float) -> int:
    try:
        parsed = parse_quantity(quantity)
    except ValueError:
        return 0
    return parsed.milli if resource == "cpu" else parsed.whole


def amounts_of(quantities: Mapping[str, str | int | float] | None) -> Counter[str]:
    """Quantities as numbers; what is no quantity counts as none."""
    return Counter({name: _amount(name, value) for name, value in (quantities or {}).items()})


def _requests(container: Container) -> Counter[str]:
    if container.resources is None:
        return Counter()
    # A limit without a request is also the request; the API server defaults it for Pods it admits.
    return amounts_of(
        {**(container.resources.limits or {}), **(container.resources.requests or {})}
    )


def requests_of(pod: Pod) -> Counter[str]:
    """What a Pod sets aside: the sum of its containers, or the largest init container, and one Pod."""
    spec = pod.spec
    total: Counter[str] = Counter()
    if spec is not None:
        for container in spec.containers:
            total += _requests(container)
        for container in spec.init_containers:
            total |= _requests(container)
    total[PODS] = 1
    return total


def _is_ready(node: Node) -> bool:
    conditions = node.status.conditions if node.status else ()
    return any(item.type == "Ready" and item.status == "True" for item in conditions)


def _obstacles(pod: Pod, node: Node, requests: Amounts, used: Amounts) -> list[str]:
    """Why a Pod cannot go to a node; empty when it can."""
    if node.spec is not None and node.spec.unschedulable and not _tolerates_cordon(pod):
        return ["node(s) were unschedulable"]
    if node.deleting or not _is_ready(node):
        return ["node(s) were not ready"]
    tainted = taint_obstacle(pod, node)
    if tainted:
        return [tainted]
    allocatable = amounts_of(node.status.allocatable if node.status else None)
    short = [
        name
        for name, amount in sorted(requests.items())
        if amount > 0
        and used.get(name, 0) + amount > allocatable.get(name, 0)
        # A node that does not say how much it has of these has no limit of its own.
        and (name in allocatable or name not in (PODS, "ephemeral-storage"))
    ]
    return ["Too many pods" if name == PODS else f"Insufficient {name}" for name in short]


def _tolerates_cordon(pod: Pod) -> bool:
    cordon = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
    return any(tolerates(item, cordon) for item in (pod.spec.tolerations if pod.spec else ()))


def plan_placement(
    pod: Pod,
    nodes: Iterable[Node],
    used: Mapping[str, Amounts],
    *,
    obstacle: str = "",
    node_obstacle: Callable[[Node], str] = lambda _: "",
) -> Placement:
    """The first node that has room.

    Args:
        pod: not bound.
        nodes: all there are.
        used: by node name, what the Pods bound to it set aside.
        obstacle: why no node will do, whatever its room; empty when nothing is in the way.
        node_obstacle: why one node will not do; empty when it will.
    """
    requests = requests_of(pod)
    reasons: Counter[str] = Counter()
    total = 0
    for node in nodes:
        total += 1
        if obstacle:
            continue
        obstacles = _obstacles(pod, node, requests, used.get(node.metadata.name, {}))
        if not obstacles:
            obstacles = [text for text in (node_obstacle(node),) if text]
        if not obstacles:
            return Placement(node.metadata.name)
        reasons.update(obstacles)
    if not total:
        return Placement("", "no nodes available to schedule pods")
    if obstacle:
        return Placement("", f"0/{total} nodes are available: {obstacle}.")
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return Placement("", f"0/{total} nodes are available: {listed}.")


class NodeLoad:
    """What the Pods on each node set aside, kept up to date change by change.

    Summing over all Pods for each one that is scheduled would be quadratic.
    """

    __slots__ = ("_by_pod", "_used")

    def __init__(self) -> None:
        self._by_pod: dict[str, tuple[str, Counter[str]]] = {}
        self._used: dict[str, Counter[str]] = {}

    def put(self, uid: str, node: str, requests: Counter[str]) -> None:
        """A Pod is on a node, or is about to be."""
        self.drop(uid)
        self._by_pod[uid] = (node, requests)
        self._used.setdefault(node, Counter()).update(requests)

    def drop(self, uid: str) -> bool:
        """A Pod is on no node; whether it was on one."""
        node, requests = self._by_pod.pop(uid, ("", None))
        if requests is None:
            return False
        self._used[node].subtract(requests)
        return True

    @property
    def used(self) -> Mapping[str, Amounts]:
        """By node name, what its Pods set aside."""
        return self._used
