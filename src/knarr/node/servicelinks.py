"""The variables by which containers find Services. Pure (Kubernetes ``pkg/kubelet/envvars``).

``kubernetes`` of ``default`` is always among them; those of the Pod's own namespace when it has
``enableServiceLinks``.
"""

from collections.abc import Iterable, Iterator

from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.service import HEADLESS, Service, ServicePort, ServiceSpec

KUBERNETES = Key("default", "kubernetes")


def kubernetes_service(address: str) -> Service:
    """What stands in for the Service ``kubernetes`` before it is known."""
    port = ServicePort(name="https", protocol="TCP", port=443)
    return Service(
        metadata=ObjectMeta(name=KUBERNETES.name, namespace=KUBERNETES.namespace),
        spec=ServiceSpec(cluster_ip=address, ports=(port,)),
    )


def service_variables(services: Iterable[Service]) -> tuple[tuple[str, str], ...]:
    """Names and values for Services that have an address, in the order of the Services."""
    return tuple(
        variable
        for service in services
        if service.spec is not None and service.spec.cluster_ip not in ("", HEADLESS)
        for variable in _variables(_variable_name(service.metadata.name), service.spec)
    )


def _variables(name: str, spec: ServiceSpec) -> Iterator[tuple[str, str]]:
    yield f"{name}_SERVICE_HOST", spec.cluster_ip
    if not spec.ports:
        return
    yield f"{name}_SERVICE_PORT", str(spec.ports[0].port)
    for port in spec.ports:
        if port.name:
            yield f"{name}_SERVICE_PORT_{_variable_name(port.name)}", str(port.port)
    yield f"{name}_PORT", _url(spec, spec.ports[0])
    for port in spec.ports:
        protocol = port.protocol or "TCP"
        prefix = f"{name}_PORT_{port.port}_{protocol.upper()}"
        yield prefix, _url(spec, port)
        yield f"{prefix}_PROTO", protocol.lower()
        yield f"{prefix}_PORT", str(port.port)
        yield f"{prefix}_ADDR", spec.cluster_ip


def _url(spec: ServiceSpec, port: ServicePort) -> str:
    return f"{(port.protocol or 'TCP').lower()}://{spec.cluster_ip}:{port.port}"


def _variable_name(text: str) -> str:
    return text.replace("-", "_").upper()
