"""Core Services without Routes as backends: what an Ingress leads to besides Revisions.

Such a Service becomes an entry of the table like a Revision, but nobody scales it: without ready endpoints
requests are refused at once instead of waiting. Only port 80 is offered, which is the port that paths with
a rewritten host lead to. Entries exist while an entry of an Ingress in the table leads to them.

Lives on one event loop. Bounds: one entry per Service that Ingresses lead to.
"""

from collections.abc import Callable, Iterable, Iterator

from knarr.dataplane import messages
from knarr.dataplane.compile import referenced_revisions
from knarr.dataplane.table import RoutingTable
from knarr.meta.objects import Key
from knarr.resources.core.service import Service, ServicePort
from knarr.resources.discovery.endpointslice import EndpointSlice

PORT = 80
_ROUTE_LABEL = "serving.knative.dev/route"
_H2C_NAMES = frozenset({"http2", "h2c"})
_H2C_PROTOCOL = "kubernetes.io/h2c"


def backend_key(service: Key) -> str:
    """The name of a Service's entry; no Revision's name has a colon."""
    return f"{service.namespace}/service:{service.name}"


def port_of(service: Service) -> ServicePort | None:
    """The port that paths lead to; None when the Service cannot be forwarded to.

    A Service of a Route is a name of the gateway, and one of type ExternalName has no endpoints.
    """
    spec = service.spec
    if spec is None or spec.type == "ExternalName" or service.metadata.label(_ROUTE_LABEL):
        return None
    return next((port for port in spec.ports if port.port == PORT), None)


def compile_backend(
    service: Service, port: ServicePort, slices: Iterable[EndpointSlice]
) -> messages.Revision:
    """The gateway's view of a Service."""
    h2c = port.app_protocol == _H2C_PROTOCOL or port.name in _H2C_NAMES
    replicas = {item.id: item for slice_ in slices for item in _replicas(slice_, port)}
    return messages.Revision(
        key=backend_key(service.key),
        uid=service.metadata.uid,
        protocol="h2c" if h2c else "http1",
        timeout_ms=0,
        queue_limit=0,
        replicas=tuple(replicas[name] for name in sorted(replicas)),
        service=service.metadata.name,
    )


def _replicas(slice_: EndpointSlice, port: ServicePort) -> Iterator[messages.Replica]:
    numbers = [item.port for item in slice_.ports or () if (item.name or "") == port.name]
    if not numbers or not numbers[0] or slice_.address_type not in {"IPv4", "IPv6"}:
        return
    for endpoint in slice_.endpoints or ():
        conditions = endpoint.conditions
        if conditions is not None and (conditions.ready is False or conditions.terminating):
            continue
        # The same address may be another Pod's later: its uid keeps connections apart.
        uid = endpoint.target_ref.uid if endpoint.target_ref is not None else ""
        address, number = endpoint.addresses[0], numbers[0]
        name = f"{uid}/{address}:{number}"
        yield messages.Replica(id=name, address=address, port=number)


class ServiceBackends:
    """Keeps the entries of Services that Ingresses lead to.

    Args:
        table: where entries go.
        service_of: a Service as its informer holds it now, or None.
        slices_of: the EndpointSlices of a Service.
        cluster_domain: of names inside.
    """

    def __init__(
        self,
        table: RoutingTable,
        service_of: Callable[[Key], Service | None],
        slices_of: Callable[[Key], Iterable[EndpointSlice]],
        cluster_domain: str,
    ) -> None:
        self._table = table
        self._service_of = service_of
        self._slices_of = slices_of
        self._suffix = f".svc.{cluster_domain}"
        self._services: dict[str, Key] = {}
        self._wanted: dict[str, frozenset[str]] = {}

    def host_of(self, service: Key) -> str:
        """The full name of a Service inside."""
        return f"{service.name}.{service.namespace}{self._suffix}"

    def rule_of(self, host: str) -> messages.Rule | None:
        """What leads to the Service of this name, which is put into the table; None without one."""
        name, _, namespace = host.removesuffix(self._suffix).partition(".")
        service = Key(namespace, name)
        if not self._put(service):
            return None
        key = backend_key(service)
        self._services[key] = service
        split = messages.Split(revision=key, percent=100)
        path = messages.Path(splits=(split,))
        return messages.Rule(hosts=(host,), visibility="local", paths=(path,))

    def _put(self, key: Key) -> bool:
        service = self._service_of(key)
        port = port_of(service) if service is not None and not service.deleting else None
        if service is None or port is None:
            return False
        self._table.set_revision(compile_backend(service, port, self._slices_of(key)))
        return True

    def refresh(self, service: Key) -> None:
        """A Service or one of its EndpointSlices changed, came or went."""
        key = backend_key(service)
        if key in self._services and not self._put(service):
            self._table.remove_revision(key)

    def settle(self, ingress: str) -> None:
        """The table's entry of an Ingress is as it will be: what nothing leads to goes."""
        if not self._services:
            return
        entry = self._table.ingress(ingress)
        wanted = (referenced_revisions(entry) if entry else frozenset()) & self._services.keys()
        self._wanted.pop(ingress, None)
        if wanted:
            self._wanted[ingress] = wanted
        for key in self._services.keys() - frozenset().union(*self._wanted.values()):
            del self._services[key]
            self._table.remove_revision(key)
