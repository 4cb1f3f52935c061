"""The Node object: what this machine offers, and that it is ready."""

import logging
import platform

import msgspec

from knarr import __version__
from knarr.kits.clock import Clock, format_timestamp
from knarr.kube.client import Client
from knarr.meta.errors import AlreadyExists, StatusError
from knarr.meta.objects import Key, ObjectMeta
from knarr.node.machine import Machine
from knarr.resources.core.node import (
    NODE,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
)
from knarr.resources.core.references import Condition

LOG = logging.getLogger(__name__)
HEARTBEAT_S = 60.0
RETRY_S = 0.5
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_READY = ("Ready", "True", "KubeletReady", "the node agent is ready")
_FINE = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "there is enough memory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "there is enough disk space"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "there are enough process ids"),
)


def capacity_of(machine: Machine, pods: int) -> dict[str, str]:
    """The machine's resources as quantities."""
    return {
        "cpu": str(machine.cpus),
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(pods),
    }


def node_status(
    machine: Machine, runtime: str, capacity: dict[str, str], old: NodeStatus | None, now: str
) -> NodeStatus:
    """The status of a machine that is ready. Pure."""
    before = {item.type: item for item in (old.conditions if old else ())}
    conditions = []
    for kind, status, reason, message in (*_FINE, _READY):
        known = before.get(kind)
        since = now
        if known is not None and known.status == status and known.last_transition_time:
            since = known.last_transition_time
        conditions.append(
            Condition(
                type=kind, status=status, reason=reason, message=message,
                last_heartbeat_time=now, last_transition_time=since,
            )
        )  # fmt: skip
    return NodeStatus(
        capacity=capacity,
        allocatable=capacity,
        conditions=tuple(conditions),
        addresses=(
            NodeAddress(type="InternalIP", address=machine.host_ip),
            NodeAddress(type="Hostname", address=machine.hostname),
        ),
        node_info=NodeSystemInfo(
            machine_id="", system_uuid="", boot_id=machine.boot,
            kernel_version=machine.kernel, os_image=machine.os_image,
            container_runtime_version=runtime, kubelet_version=f"v{__version__}",
            kube_proxy_version="", operating_system="linux",
            architecture=_ARCHITECTURES.get(machine.machine, platform.machine()),
        ),
    )  # fmt: skip


class Registration:
    """Keeps the Node object there and its Ready condition fresh."""

    def __init__(
        self,
        client: Client,
        machine: Machine,
        clock: Clock,
        *,
        name: str,
        pod_cidr: str,
        runtime: str,
        capacity: dict[str, str],
    ) -> None:
        self._client = client
        self._machine = machine
        self._clock = clock
        self._key = Key("", name)
        self._pod_cidr = pod_cidr
        self._runtime = runtime
        self._capacity = capacity

    async def beat(self) -> bool:
        """Write the Node object once; whether that worked."""
        try:
            node = await self._ensure()
            now = format_timestamp(self._clock.wall())
            status = node_status(self._machine, self._runtime, self._capacity, node.status, now)
            document = msgspec.to_builtins(status)
            await self._client.patch(NODE, self._key, {"status": document}, subresource="status")
        except StatusError as error:
            LOG.debug("node object: %s", error)
            return False
        return True

    async def _ensure(self) -> Node:
        labels = {
            "kubernetes.io/hostname": self._key.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _ARCHITECTURES.get(self._machine.machine, "amd64"),
        }
        node = Node(
            metadata=ObjectMeta(name=self._key.name, labels=labels),
            spec=NodeSpec(pod_cidr=self._pod_cidr, pod_cidrs=(self._pod_cidr,)),
        )
        try:
            return await self._client.create(NODE, node)
        except AlreadyExists:
            return await self._client.get(NODE, self._key)
