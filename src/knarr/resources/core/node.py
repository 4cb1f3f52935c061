"""Node (``v1``)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import AGE, NONE, UNKNOWN, Cell, get, items, text
from knarr.resources.core.references import Condition
from knarr.resources.core.volume import Quantity
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors


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


def validate_node(node: Node, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: nothing beyond the metadata."""
    return () if admission.subresource else tuple(metadata_errors(node.metadata))


def _status(document: Mapping[str, Any], _: float) -> object:
    ready = "Unknown"
    for condition in items(document, "status", "conditions"):
        if get(condition, "type") == "Ready":
            ready = "Ready" if get(condition, "status") == "True" else "NotReady"
    return f"{ready},SchedulingDisabled" if get(document, "spec", "unschedulable") else ready


_ROLE = "node-role.kubernetes.io/"


def _roles(document: Mapping[str, Any], _: float) -> object:
    labels = get(document, "metadata", "labels") or {}
    roles = sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))
    return ",".join(roles) or NONE


def _address(kind: str) -> Cell:
    def cell(document: Mapping[str, Any], _: float) -> object:
        for item in items(document, "status", "addresses"):
            if get(item, "type") == kind:
                return get(item, "address")
        return NONE

    return cell


def _info(name: str) -> Cell:
    return lambda document, _: get(document, "status", "nodeInfo", name) or UNKNOWN


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
    age=False,
    columns=(
        Column("Status", "string", _status),
        Column("Roles", "string", _roles),
        AGE,
        Column("Version", "string", text("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", "string", _address("InternalIP"), priority=1),
        Column("External-IP", "string", _address("ExternalIP"), priority=1),
        Column("OS-Image", "string", _info("osImage"), priority=1),
        Column("Kernel-Version", "string", _info("kernelVersion"), priority=1),
        Column("Container-Runtime", "string", _info("containerRuntimeVersion"), priority=1),
    ),
    validate=validate_node,
    selectable={
        "spec.unschedulable": lambda doc: "true" if get(doc, "spec", "unschedulable") else "false",
    },
)
