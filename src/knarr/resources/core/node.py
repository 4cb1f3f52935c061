"""Node (``v1``)."""

from collections.abc import Mapping

import msgspec

from knarr.meta.objects import Resource, Struct
from knarr.resources.core.references import Condition
from knarr.resources.core.volume import Quantity
from knarr.resources.kind import Kind


class Taint(Struct, frozen=True, kw_only=True):
    """Keeps Pods away that do not tolerate it."""

    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: str | None = None


class NodeSpec(Struct, frozen=True, kw_only=True):
    """Where Pods of this node get their addresses, and whether it takes new ones."""

    pod_cidr: str = msgspec.field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")
    provider_id: str = msgspec.field(default="", name="providerID")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Struct, frozen=True, kw_only=True):
    """``type`` is Hostname, InternalIP or ExternalIP."""

    type: str = ""
    address: str = ""


class NodeSystemInfo(Struct, frozen=True, kw_only=True):
    """What the machine is."""

    machine_id: str | None = msgspec.field(default=None, name="machineID")
    system_uuid: str | None = msgspec.field(default=None, name="systemUUID")
    boot_id: str | None = msgspec.field(default=None, name="bootID")
    kernel_version: str | None = None
    os_image: str | None = None
    container_runtime_version: str | None = None
    kubelet_version: str | None = None
    kube_proxy_version: str | None = None
    operating_system: str | None = None
    architecture: str | None = None


class DaemonEndpoint(Struct, frozen=True, kw_only=True):
    """A port of the node agent."""

    port: int = msgspec.field(default=0, name="Port")


class NodeDaemonEndpoints(Struct, frozen=True, kw_only=True):
    """Ports of the node's daemons."""

    kubelet_endpoint: DaemonEndpoint | None = None


class NodeStatus(Struct, frozen=True, kw_only=True):
    """What the node has and how it is."""

    capacity: Mapping[str, Quantity] | None = None
    allocatable: Mapping[str, Quantity] | None = None
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    daemon_endpoints: NodeDaemonEndpoints | None = None
    node_info: NodeSystemInfo | None = None


class Node(Resource, frozen=True, kw_only=True):
    """The machine that runs Pods."""

    spec: NodeSpec | None = None
    status: NodeStatus | None = None


NODE: Kind[Node] = Kind(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    singular="node",
    short_names=("no",),
    namespaced=False,
    builtin=True,
    model=Node,
)
