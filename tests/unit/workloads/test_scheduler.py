from tests.unit.workloads.world import World, pod

from knarr.meta.objects import Key
from knarr.resources.core.event import EVENT
from knarr.resources.core.node import NODE
from knarr.resources.core.pod import POD


async def scheduled(world, name="p"):
    found = await world.client.get(POD, Key("ns", name))
    if found.spec.node_name:
        return found.spec.node_name
    (condition,) = [item for item in found.status.conditions if item.type == "PodScheduled"]
    assert (condition.status, condition.reason) == ("False", "Unschedulable")
    return condition.message


def test_a_pod_is_bound_in_one_write(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.client.create(POD, pod("p", cpu="1"))
            await world.settle()
            assert await scheduled(world) == "node"
            assert len(world.transport.writes) == 1
            assert (await world.client.get(POD, Key("ns", "p"))).status.phase == "Pending"
            assert await world.again() == []

    fake_time(story())


def test_without_room_the_pod_waits_says_why_and_is_bound_when_room_appears(fake_time):
    async def story():
        async with World() as world:
            await world.add_node(cpu="2")
            await world.client.create(POD, pod("first", cpu="1500m"))
            await world.settle()
            await world.client.create(POD, pod("p", cpu="1"))
            await world.settle()
            assert await scheduled(world) == "0/1 nodes are available: 1 Insufficient cpu."
            assert await world.again() == []
            reasons = [item.reason for item in await world.client.list(EVENT, "ns")]
            assert "FailedScheduling" in reasons
            await world.client.delete(POD, Key("ns", "first"), grace_s=0)
            await world.settle()
            assert await scheduled(world) == "node"

    fake_time(story())


def test_a_finished_pod_frees_its_room(fake_time):
    async def story():
        async with World() as world:
            await world.add_node(cpu="1")
            await world.client.create(POD, pod("first", cpu="1"))
            await world.settle()
            await world.client.create(POD, pod("p", cpu="1"))
            await world.settle()
            assert "Insufficient cpu" in await scheduled(world)
            await world.report(pod("first"), ready=False, phase="Succeeded")
            await world.settle()
            assert await scheduled(world) == "node"

    fake_time(story())


def test_pods_that_come_at_once_do_not_share_the_last_room(fake_time):
    async def story():
        async with World() as world:
            await world.add_node(cpu="2")
            for number in range(6):
                await world.client.create(POD, pod(f"p{number}", cpu="1"))
            await world.settle()
            bound = [item for item in await world.pods() if item.spec.node_name]
            assert len(bound) == 2

    fake_time(story())


def test_no_node_is_said_and_a_new_one_is_used(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(POD, pod("p"))
            await world.settle()
            assert await scheduled(world) == "no nodes available to schedule pods"
            await world.add_node()
            assert await scheduled(world) == "node"

    fake_time(story())


def test_a_node_that_is_not_ready_or_cordoned_takes_nothing(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.update_node(ready=False)
            await world.client.create(POD, pod("p"))
            await world.settle()
            assert await scheduled(world) == "0/1 nodes are available: 1 node(s) were not ready."
            await world.update_node(ready=True)
            await world.client.patch(NODE, Key("", "node"), {"spec": {"unschedulable": True}})
            await world.client.create(POD, pod("q"))
            await world.settle()
            assert await scheduled(world, "q") == (
                "0/1 nodes are available: 1 node(s) were unschedulable."
            )

    fake_time(story())


def test_too_many_pods(fake_time):
    async def story():
        async with World() as world:
            await world.add_node(pods="1")
            await world.client.create(POD, pod("p"))
            await world.client.create(POD, pod("q"))
            await world.settle()
            texts = {await scheduled(world, name) for name in ("p", "q")}
            assert texts == {"node", "0/1 nodes are available: 1 Too many pods."}

    fake_time(story())
