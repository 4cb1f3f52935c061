"""What a name inside the cluster domain stands for. Pure, over caches.

Services of Knative (type ExternalName, pointing into the cluster domain) and Services that a Route placed
stand for the gateway. A Service with a cluster IP stands for that; a headless one for its ready Pods, or,
without a selector, for the ready addresses of its EndpointSlices.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from knarr.node.nodefiles import CLUSTER_DOMAIN
from knarr.resources.core.pod import Pod
from knarr.resources.core.service import HEADLESS, Service
from knarr.resources.discovery.endpointslice import EndpointSlice

ROUTE_LABEL = "serving.knative.dev/route"
_SUFFIX = f".svc.{CLUSTER_DOMAIN}"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MAX_ADDRESSES = 32


class Directory(Protocol):
    """Reads Services and Pods from caches."""

    def service(self, namespace: str, name: str) -> Service | None:
        """A core Service, or None."""
        ...

    def pods(self, namespace: str) -> Iterable[Pod]:
        """The Pods of a namespace."""
        ...

    def slices(self, namespace: str, name: str) -> Iterable[EndpointSlice]:
        """The EndpointSlices of a Service."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """Addresses, or another name to ask for; both empty: the name exists without an address."""

    addresses: tuple[str, ...] = ()
    alias: str = ""


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """Answers for ``cluster.local``.

    Attributes:
        gateway: address of the pod gateway.
    """

    directory: Directory
    gateway: str

    def covers(self, name: str) -> bool:
        """Whether the name lies in the cluster domain: nobody else is asked for it."""
        return name == CLUSTER_DOMAIN or name.endswith(f".{CLUSTER_DOMAIN}")

    def look_up(self, name: str) -> Answer | None:
        """What a lower-case name without trailing dot stands for; None when it does not exist."""
        if not name.endswith(_SUFFIX):
            return Answer() if name in (CLUSTER_DOMAIN, _SUFFIX[1:]) else None
        labels = name.removesuffix(_SUFFIX).split(".")
        if len(labels) not in (2, 3) or not all(_LABEL.fullmatch(label) for label in labels):
            return None
        *host, service_name, namespace = labels
        service = self.directory.service(namespace, service_name)
        if service is None:
            return None
        return self._host(service, host[0]) if host else self._answer(service)

    def _host(self, service: Service, host: str) -> Answer | None:
        """One Pod of a headless Service, by its ``hostname`` and ``subdomain``."""
        spec, metadata = service.spec, service.metadata
        if spec is None or spec.cluster_ip != HEADLESS or not spec.selector:
            return None
        wanted = spec.selector.items()
        found = [
            pod.status.pod_ip
            for pod in self.directory.pods(metadata.namespace)
            if pod.spec is not None
            and (pod.spec.hostname, pod.spec.subdomain) == (host, metadata.name)
            and pod.status is not None
            and pod.status.pod_ip
            and wanted <= dict(pod.metadata.labels or {}).items()
            and (spec.publish_not_ready_addresses or _ready(pod))
        ]
        return Answer(tuple(found)) if found else None

    def _answer(self, service: Service) -> Answer:
        spec = service.spec
        if spec is None:
            return Answer()
        if service.metadata.label(ROUTE_LABEL):
            return Answer((self.gateway,))
        if spec.type == "ExternalName":
            target = spec.external_name.rstrip(".").lower()
            return Answer((self.gateway,)) if self.covers(target) else Answer(alias=target)
        if spec.cluster_ip not in ("", HEADLESS):
            return Answer((spec.cluster_ip,))
        if not spec.selector:
            return Answer(self._listed_addresses(service))
        return Answer(self._pod_addresses(service))

    def _listed_addresses(self, service: Service) -> tuple[str, ...]:
        metadata = service.metadata
        found = [
            endpoint.addresses[0]
            for one in self.directory.slices(metadata.namespace, metadata.name)
            if one.address_type == "IPv4"
            for endpoint in one.endpoints or ()
            if endpoint.addresses
            and (endpoint.conditions is None or endpoint.conditions.ready is not False)
        ]
        return tuple(dict.fromkeys(found))[:_MAX_ADDRESSES]

    def _pod_addresses(self, service: Service) -> tuple[str, ...]:
        assert service.spec is not None
        wanted = (service.spec.selector or {}).items()
        unready_too = service.spec.publish_not_ready_addresses
        found = []
        for pod in self.directory.pods(service.metadata.namespace):
            if pod.deleting or pod.status is None or not pod.status.pod_ip:
                continue
            if wanted <= dict(pod.metadata.labels or {}).items() and (unready_too or _ready(pod)):
                found.append(pod.status.pod_ip)
        return tuple(found[:_MAX_ADDRESSES])


def _ready(pod: Pod) -> bool:
    conditions = pod.status.conditions if pod.status else ()
    return any(item.type == "Ready" and item.status == "True" for item in conditions)
