"""Core Services as entries of the table."""

from dataclasses import dataclass, field

import pytest

from knarr.dataplane.backends import ServiceBackends, backend_key, compile_backend, port_of
from knarr.dataplane.messages import Ingress, Path, Replica, Rule, Split
from knarr.dataplane.table import RoutingTable
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.references import ObjectReference
from knarr.resources.core.service import Service, ServicePort, ServiceSpec
from knarr.resources.discovery.endpointslice import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    SlicePort,
)

KEY = Key("default", "plain")
HOST = "plain.default.svc.cluster.local"


def service(*ports: ServicePort, labels: dict[str, str] | None = None, **spec: str) -> Service:
    given = ports or (ServicePort(port=80),)
    metadata = ObjectMeta(name="plain", namespace="default", uid="u", labels=labels)
    return Service(metadata=metadata, spec=ServiceSpec(ports=given, **spec))  # type: ignore[arg-type]


def endpoint(address: str, uid: str = "p", **conditions: bool) -> Endpoint:
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(**conditions),
        target_ref=ObjectReference(kind="Pod", uid=uid),
    )


def slice_of(*endpoints: Endpoint, ports: tuple[SlicePort, ...] = ()) -> EndpointSlice:
    return EndpointSlice(
        address_type="IPv4", endpoints=endpoints, ports=ports or (SlicePort(port=8080),)
    )


def test_ready_endpoints_are_replicas() -> None:
    slices = [
        slice_of(
            endpoint("10.0.0.2", "b", ready=True),
            endpoint("10.0.0.3", ready=False),
            endpoint("10.0.0.4", ready=True, terminating=True),
        ),
        slice_of(endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b")),
        slice_of(endpoint("10.0.0.9"), ports=(SlicePort(name="other", port=1),)),
        EndpointSlice(address_type="FQDN", endpoints=(endpoint("a.com"),)),
    ]
    port = port_of(service())
    assert port is not None
    entry = compile_backend(service(), port, slices)
    assert entry.replicas == (
        Replica(id="a/10.0.0.1:8080", address="10.0.0.1", port=8080),
        Replica(id="b/10.0.0.2:8080", address="10.0.0.2", port=8080),
    )
    assert (entry.protocol, entry.queue_limit, entry.timeout_ms) == ("http1", 0, 0)


@pytest.mark.parametrize(
    "port", [ServicePort(port=80, name="http2"), ServicePort(port=80, app_protocol="kubernetes.io/h2c")]
)  # fmt: skip
def test_ports_of_http2(port: ServicePort) -> None:
    assert compile_backend(service(port), port, ()).protocol == "h2c"


def test_what_cannot_be_forwarded_to() -> None:
    assert port_of(service(ServicePort(port=81))) is None
    assert port_of(service(type="ExternalName")) is None
    assert port_of(service(labels={"serving.knative.dev/route": "r"})) is None
    assert port_of(Service()) is None


@dataclass
class Kept:
    services: dict[Key, Service] = field(default_factory=lambda: {KEY: service()})
    slices: list[EndpointSlice] = field(default_factory=list)
    table: RoutingTable = field(default_factory=lambda: RoutingTable("epoch"))

    def __post_init__(self) -> None:
        self.backends = ServiceBackends(
            self.table, self.services.get, lambda _: self.slices, "cluster.local"
        )

    def lead(self, name: str) -> None:
        rule = self.backends.rule_of(HOST)
        assert rule is not None
        assert rule.hosts == (HOST,)
        self.table.set_ingress(Ingress(key=name, rules=(rule,)))
        self.backends.settle(name)

    def leave(self, name: str) -> None:
        self.table.remove_ingress(name)
        self.backends.settle(name)

    def replicas(self) -> int | None:
        entry = self.table.revision(backend_key(KEY))
        return None if entry is None else len(entry.replicas)


def test_an_entry_lives_while_something_leads_to_it() -> None:
    kept = Kept()
    kept.backends.refresh(KEY)
    assert kept.replicas() is None
    kept.lead("a")
    kept.lead("b")
    kept.slices.append(slice_of(endpoint("10.0.0.1")))
    kept.backends.refresh(KEY)
    assert kept.replicas() == 1
    kept.leave("a")
    assert kept.replicas() == 1
    split = Split(revision="default/r", percent=100)
    moved = Rule(hosts=("b",), visibility="external", paths=(Path(splits=(split,)),))
    kept.table.set_ingress(Ingress(key="b", rules=(moved,)))
    kept.backends.settle("b")
    assert kept.replicas() is None


def test_a_service_that_goes_has_no_replicas_and_may_come_back() -> None:
    kept = Kept(slices=[slice_of(endpoint("10.0.0.1"))])
    kept.lead("a")
    gone = kept.services.pop(KEY)
    kept.backends.refresh(KEY)
    assert kept.replicas() is None
    assert kept.backends.rule_of(HOST) is None
    kept.services[KEY] = gone
    kept.backends.refresh(KEY)
    assert kept.replicas() == 1


def test_an_entry_that_nothing_came_to_lead_to_is_dropped() -> None:
    kept = Kept()
    assert kept.backends.rule_of(HOST) is not None
    kept.backends.settle("a")
    assert kept.replicas() is None
    assert kept.backends.rule_of("x.com") is None
