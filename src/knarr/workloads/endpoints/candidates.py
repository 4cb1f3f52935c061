"""Which Pods stand behind a Service, and at which ports; pure.

Semantics: Kubernetes ``staging/src/k8s.io/endpointslice`` and ``pkg/controller/endpoint``. Services
without a selector and ExternalName ones belong to whoever made them: nothing is decided about them here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from knarr.resources.core.pod import Pod
from knarr.resources.core.references import ObjectReference
from knarr.resources.core.service import HEADLESS, Service, ServicePort
from knarr.workloads.pods import is_finished, is_ready, node_of

HEADLESS_LABEL = "service.kubernetes.io/headless"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port of the Service as one Pod has it; ``number`` is the Pod's."""

    name: str
    protocol: str
    number: int
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Pod behind a Service.

    Attributes:
        address: the Pod's.
        node: empty when it is not bound.
        reference: to the Pod.
        ports: of the Service, those that the Pod has.
        ready: gets connections.
        serving: its readiness alone.
        terminating: told to end.
    """

    address: str
    node: str
    reference: ObjectReference
    ports: tuple[Port, ...]
    ready: bool
    serving: bool
    terminating: bool


def selects(service: Service) -> bool:
    """Whether the Service's endpoints follow Pods."""
    spec = service.spec
    return spec is not None and bool(spec.selector) and spec.type != "ExternalName"


def is_headless(service: Service) -> bool:
    """Whether the Service has no cluster IP by wish."""
    return service.spec is not None and service.spec.cluster_ip == HEADLESS


def matches(service: Service, pod: Pod) -> bool:
    """Whether the Service's selector takes the Pod."""
    selector = (service.spec.selector if service.spec else None) or {}
    return selector.items() <= dict(pod.metadata.labels or {}).items()


def facet(pod: Pod) -> tuple[object, ...]:
    """What of a Pod endpoints depend on; all other changes do not concern them."""
    return (
        pod.metadata.labels,
        pod.metadata.uid,
        pod.deleting,
        is_finished(pod),
        is_ready(pod),
        node_of(pod),
        pod.status.pod_ip if pod.status else "",
    )


def candidates_of(service: Service, pods: Iterable[Pod]) -> tuple[Candidate, ...]:
    """The Pods that stand behind a Service, sorted by address."""
    found = [
        candidate
        for pod in pods
        if matches(service, pod) and (candidate := _candidate(service, pod)) is not None
    ]
    return tuple(sorted(found, key=lambda item: (item.address, item.reference.uid)))


def _candidate(service: Service, pod: Pod) -> Candidate | None:
    if pod.status is None or not pod.status.pod_ip or is_finished(pod) or service.spec is None:
        return None
    ports = tuple(port for item in service.spec.ports if (port := _resolved(item, pod)) is not None)
    if service.spec.ports and not ports:
        return None
    serving = is_ready(pod)
    anyway = service.spec.publish_not_ready_addresses
    return Candidate(
        address=pod.status.pod_ip,
        node=node_of(pod),
        reference=ObjectReference(
            kind="Pod",
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            uid=pod.metadata.uid,
        ),
        ports=ports,
        ready=anyway or (serving and not pod.deleting),
        serving=serving,
        terminating=pod.deleting,
    )


def _resolved(port: ServicePort, pod: Pod) -> Port | None:
    """The Service's port with the number it has in this Pod; None when the Pod has no such port."""
    protocol = port.protocol or "TCP"
    target = port.target_port
    if not isinstance(target, str):
        return Port(port.name, protocol, target or port.port, port.app_protocol)
    for container in pod.spec.containers if pod.spec else ():
        for own in container.ports:
            if own.name == target and (own.protocol or "TCP") == protocol:
                return Port(port.name, protocol, own.container_port, port.app_protocol)
    return None
