import pytest
from tests.unit.workloads.world import World, pod, replace, template

from knarr.kits.clock import format_timestamp
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.container import Container, ContainerPort
from knarr.resources.core.endpoints import ENDPOINTS, Endpoints
from knarr.resources.core.pod import POD, Pod, PodStatus
from knarr.resources.core.references import Condition
from knarr.resources.core.service import SERVICE, Service, ServicePort, ServiceSpec
from knarr.resources.discovery.endpointslice import ENDPOINT_SLICE, EndpointSlice
from knarr.workloads.endpoints.candidates import candidates_of, selects
from knarr.workloads.endpoints.slices import plan_slices
from knarr.workloads.endpoints.subsets import plan_endpoints

WEB = ServicePort(name="web", protocol="TCP", port=80, target_port="http")
KEY = Key("ns", "app")


def service(*ports: ServicePort, **spec) -> Service:
    spec = {"selector": {"app": "x"}, "type": "ClusterIP", "cluster_ip": "10.96.0.9"} | spec
    return Service(
        api_version="v1",
        kind="Service",
        metadata=ObjectMeta(name="app", namespace="ns", uid="s", labels={"team": "a"}),
        spec=ServiceSpec(ports=ports or (ServicePort(port=80, target_port=8080),), **spec),
    )


def backend(number: int, *, ready=True, phase="Running", port=8080, ip=True, **metadata) -> Pod:
    container = Container(
        name="c", ports=(ContainerPort(name="http", container_port=port, protocol="TCP"),)
    )
    condition = Condition(type="Ready", status="True" if ready else "False")
    return Pod(
        metadata=ObjectMeta(
            name=f"p{number}", namespace="ns", uid=f"u{number}", labels={"app": "x"}, **metadata
        ),
        spec=replace(template().spec, containers=(container,), node_name="node"),
        status=PodStatus(
            phase=phase,
            pod_ip=f"10.232.{number // 250}.{number % 250 + 1}" if ip else "",
            conditions=(condition,),
        ),
    )


GOING = {"deletion_timestamp": "2026-01-01T00:00:30Z"}


@pytest.mark.parametrize(
    ("made", "flags"),
    [
        (backend(1), (True, True, False)),
        (backend(1, ready=False), (False, False, False)),
        (backend(1, **GOING), (False, True, True)),
        (backend(1, ready=False, **GOING), (False, False, True)),
    ],
)
def test_what_a_pod_is_to_a_service(made, flags):
    (found,) = candidates_of(service(), [made])
    assert (found.ready, found.serving, found.terminating) == flags


@pytest.mark.parametrize(
    "made",
    [
        backend(1, ip=False),
        backend(1, phase="Succeeded"),
        backend(1, phase="Failed"),
        replace(backend(1), metadata=ObjectMeta(name="p", namespace="ns", labels={"app": "y"})),
        replace(backend(1), status=None),
    ],
)
def test_pods_that_are_nothing_to_it(made):
    assert candidates_of(service(), [made]) == ()


def test_unready_pods_count_when_the_service_says_so():
    (found,) = candidates_of(
        service(publish_not_ready_addresses=True), [backend(1, ready=False, **GOING)]
    )
    assert (found.ready, found.serving, found.terminating) == (True, False, True)


def test_ports_by_name_are_looked_up_in_each_pod():
    other = ServicePort(name="gone", protocol="UDP", port=53, target_port="http")
    found = candidates_of(service(WEB, other), [backend(1), backend(2, port=9000)])
    assert [[(port.name, port.number) for port in item.ports] for item in found] == [
        [("web", 8080)],
        [("web", 9000)],
    ]
    nameless = replace(WEB, target_port="metrics")
    assert candidates_of(service(nameless), [backend(1)]) == ()


def test_services_without_pods_of_their_own_are_left_alone():
    assert selects(service())
    assert selects(service(cluster_ip="None"))
    assert not selects(service(selector=None))
    assert not selects(service(selector={}))
    assert not selects(service(type="ExternalName", external_name="a.b"))


def endpoints_of(made: Service, *pods: Pod, current=None) -> Endpoints:
    return plan_endpoints(made, candidates_of(made, pods), current)


def test_addresses_are_grouped_by_ports_and_readiness():
    made = endpoints_of(
        service(WEB),
        backend(1),
        backend(2, ready=False),
        backend(3, port=9000),
        backend(4, **GOING),
    )
    assert [
        (
            [item.ip for item in subset.addresses],
            [item.ip for item in subset.not_ready_addresses],
            [(port.name, port.port, port.protocol) for port in subset.ports],
        )
        for subset in made.subsets
    ] == [
        (["10.232.0.2"], ["10.232.0.3"], [("web", 8080, "TCP")]),
        (["10.232.0.4"], [], [("web", 9000, "TCP")]),
    ]
    address = made.subsets[0].addresses[0]
    assert address.node_name == "node"
    assert (address.target_ref.kind, address.target_ref.name) == ("Pod", "p1")
    assert made.metadata.labels["team"] == "a"
    assert made.metadata.owner_references[0].uid == "s"


def test_endpoints_that_are_right_are_not_written():
    made = endpoints_of(service(WEB), backend(1))
    assert endpoints_of(service(WEB), backend(1), current=made) is None
    foreign = replace(made, metadata=replace(made.metadata, annotations={"a": "b"}))
    assert endpoints_of(service(WEB), backend(1), current=foreign) is None


def test_too_many_addresses_are_cut_and_said_to_be():
    pods = [backend(number, ready=number % 2 == 0) for number in range(1100)]
    made = endpoints_of(service(), *pods)
    (subset,) = made.subsets
    assert (len(subset.addresses), len(subset.not_ready_addresses)) == (550, 450)
    annotation = "endpoints.kubernetes.io/over-capacity"
    assert made.metadata.annotations == {annotation: "truncated"}
    again = endpoints_of(service(), backend(1), current=made)
    assert again.metadata.annotations is None


class Slices:
    """Carries plans out, and counts what they cost."""

    def __init__(self):
        self.held: dict[str, EndpointSlice] = {}
        self.made = 0

    def step(self, made: Service, *pods: Pod) -> tuple[int, int, int]:
        plan = plan_slices(made, candidates_of(made, pods), tuple(self.held.values()))
        for item in plan.create:
            self.made += 1
            name = f"app-{self.made:03}"
            self.held[name] = replace(item, metadata=replace(item.metadata, name=name))
        for item in plan.update:
            self.held[item.metadata.name] = item
        for item in plan.delete:
            del self.held[item.metadata.name]
        return len(plan.create), len(plan.update), len(plan.delete)

    @property
    def sizes(self) -> list[int]:
        return [len(item.endpoints) for _, item in sorted(self.held.items())]


def test_slices_hold_a_hundred_each():
    slices = Slices()
    pods = [backend(number) for number in range(250)]
    assert slices.step(service(), *pods) == (3, 0, 0)
    assert slices.sizes == [100, 100, 50]
    assert slices.step(service(), *pods) == (0, 0, 0)
    (labels,) = {tuple(sorted(item.metadata.labels.items())) for item in slices.held.values()}
    assert dict(labels) == {
        "team": "a",
        "kubernetes.io/service-name": "app",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }


def test_one_pod_more_or_less_changes_one_slice():
    slices = Slices()
    pods = [backend(number) for number in range(150)]
    slices.step(service(), *pods)
    assert slices.step(service(), *pods[:100], *pods[101:]) == (0, 1, 0)
    assert slices.step(service(), *pods) == (0, 1, 0)
    assert slices.step(service(), *pods[:10], backend(10, ready=False), *pods[11:]) == (0, 1, 0)


def test_a_service_without_endpoints_has_one_empty_slice():
    slices = Slices()
    assert slices.step(service()) == (1, 0, 0)
    assert slices.sizes == [0]
    assert slices.step(service(), backend(1)) == (0, 1, 0)
    assert slices.sizes == [1]
    assert slices.step(service()) == (0, 1, 0)
    assert slices.sizes == [0]


def test_other_ports_reuse_the_slices():
    slices = Slices()
    slices.step(service(), backend(1))
    moved = service(ServicePort(port=80, target_port=9000))
    assert slices.step(moved, backend(1)) == (0, 1, 0)
    assert [port.port for port in slices.held["app-001"].ports] == [9000]


def test_ports_that_differ_between_pods_make_two_slices():
    slices = Slices()
    assert slices.step(service(WEB), backend(1), backend(2, port=9000)) == (2, 0, 0)
    assert slices.step(service(WEB), backend(1)) == (0, 0, 1)


# --- on the real API server -----------------------------------------------------------------------------


async def start_pod(world: World, name: str, *, ready: bool = True) -> None:
    created = await world.client.create(POD, pod(name, labels={"app": "x"}))
    await set_pod(world, created.key, ready=ready, ip=f"10.232.0.{created.metadata.name[1:]}")


async def set_pod(world: World, key: Key, *, ready: bool, ip: str) -> None:
    held = await world.client.get(POD, key)
    condition = Condition(
        type="Ready",
        status="True" if ready else "False",
        last_transition_time=format_timestamp(world.clock.wall()),
    )
    status = PodStatus(phase="Running", pod_ip=ip, conditions=(condition,))
    await world.client.update_status(POD, replace(held, status=status))
    await world.settle()


async def expose(world: World, **spec) -> Service:
    spec = {"selector": {"app": "x"}} | spec
    made = Service(
        metadata=ObjectMeta(name="app", namespace="ns"),
        spec=ServiceSpec(ports=(ServicePort(port=80, target_port=8080),), **spec),
    )
    created = await world.client.create(SERVICE, made)
    await world.settle()
    return created


async def shown(world: World) -> tuple[list[str], list[str]]:
    """The ready addresses, by both kinds of object."""
    endpoints = await world.client.get(ENDPOINTS, KEY)
    slices = await world.client.list(ENDPOINT_SLICE, "ns", "kubernetes.io/service-name=app")
    return (
        [address.ip for subset in endpoints.subsets for address in subset.addresses],
        [
            address
            for item in slices
            for endpoint in item.endpoints or ()
            if endpoint.conditions.ready
            for address in endpoint.addresses
        ],
    )


def test_endpoints_follow_pods(fake_time):
    async def story():
        async with World() as world:
            await expose(world)
            assert await shown(world) == ([], [])
            await start_pod(world, "p1")
            await start_pod(world, "p2", ready=False)
            assert await shown(world) == (["10.232.0.1"], ["10.232.0.1"])
            await set_pod(world, Key("ns", "p2"), ready=True, ip="10.232.0.2")
            both = ["10.232.0.1", "10.232.0.2"]
            assert await shown(world) == (both, both)
            assert await world.again() == []
            await world.client.delete(POD, Key("ns", "p1"), grace_s=0)
            await world.settle()
            assert await shown(world) == (both[1:], both[1:])
            await world.client.patch(
                POD, Key("ns", "p2"), {"metadata": {"labels": {"app": "debug"}}}
            )
            await world.settle()
            assert await shown(world) == ([], [])
            assert world.errors() == 0

    fake_time(story())


def test_what_does_not_concern_endpoints_writes_nothing(fake_time):
    async def story():
        async with World() as world:
            await expose(world)
            await start_pod(world, "p1")
            world.transport.writes.clear()
            annotate = {"metadata": {"annotations": {"a": "b"}}}
            await world.client.patch(POD, Key("ns", "p1"), annotate)
            await world.client.patch(SERVICE, KEY, annotate)
            await world.settle()
            assert [write for write in world.transport.writes if "endpoint" in write] == []

    fake_time(story())


def test_somebody_elses_change_is_undone(fake_time):
    async def story():
        async with World() as world:
            await expose(world)
            await start_pod(world, "p1")
            await world.client.delete(ENDPOINTS, KEY)
            slices = await world.client.list(ENDPOINT_SLICE, "ns")
            await world.client.patch(
                ENDPOINT_SLICE, slices.items[0].key, {"endpoints": [], "ports": []}
            )
            await world.settle()
            assert await shown(world) == (["10.232.0.1"], ["10.232.0.1"])
            assert world.errors() == 0

    fake_time(story())


def test_selectorless_services_keep_what_people_write(fake_time):
    async def story():
        async with World() as world:
            await expose(world, selector=None)
            own = Endpoints(metadata=ObjectMeta(name="app", namespace="ns"))
            await world.client.create(ENDPOINTS, own)
            await world.settle()
            assert await world.again() == []
            assert (await world.client.get(ENDPOINTS, KEY)).metadata.labels is None
            assert (await world.client.list(ENDPOINT_SLICE, "ns")).items == ()

    fake_time(story())


def test_endpoints_go_with_their_service(fake_time):
    async def story():
        async with World() as world:
            await expose(world)
            await start_pod(world, "p1")
            await world.client.delete(SERVICE, KEY)
            await world.settle()
            assert (await world.client.list(ENDPOINTS, "ns")).items == ()
            assert (await world.client.list(ENDPOINT_SLICE, "ns")).items == ()

    fake_time(story())


def test_headless_services_are_followed_and_labelled(fake_time):
    async def story():
        async with World() as world:
            await expose(world, cluster_ip="None")
            await start_pod(world, "p1")
            assert await shown(world) == (["10.232.0.1"], ["10.232.0.1"])
            label = "service.kubernetes.io/headless"
            assert (await world.client.get(ENDPOINTS, KEY)).metadata.labels[label] == ""

    fake_time(story())
