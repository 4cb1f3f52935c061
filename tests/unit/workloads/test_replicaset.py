import datetime as dt

from tests.unit.workloads.world import World, pod, replace

from knarr.kits.clock import format_timestamp
from knarr.meta.errors import Forbidden
from knarr.meta.objects import Key, ObjectMeta, owner_reference
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet, ReplicaSetSpec
from knarr.resources.core.pod import POD
from knarr.workloads.replicaset.plan import plan_replica_set

KEY = Key("ns", "rs")


async def status(world):
    return (await world.client.get(REPLICA_SET, KEY)).status


def names(pods):
    return {item.metadata.name for item in pods}


def test_makes_pods_of_the_template_and_counts_them(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(3)
            pods = await world.pods()
            assert len(pods) == 3
            for item in pods:
                assert item.metadata.name.startswith("rs-")
                assert item.metadata.labels == {"app": "x"}
                assert item.metadata.owner_references[0].controller
            assert (await status(world)).replicas == 3
            assert (await status(world)).ready_replicas == 0
            await world.run_pods()
            final = await status(world)
            assert (final.replicas, final.ready_replicas, final.available_replicas) == (3, 3, 3)
            assert (final.fully_labeled_replicas, final.observed_generation) == (3, 1)
            assert await world.again() == []
            assert world.errors() == 0

    fake_time(story())


def test_one_pod_costs_few_writes(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(1)
            writes = [write for write in world.transport.writes if "/pods" in write]
            assert len(writes) <= 3, writes
            assert len(world.transport.writes) <= 4, world.transport.writes

    fake_time(story())


def test_a_pod_that_ends_is_replaced_and_not_counted(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(2)
            await world.run_pods()
            first = (await world.pods())[0]
            await world.client.delete(POD, first.key)
            await world.settle()
            pods = await world.pods()
            assert len(pods) == 3, "the old one ends gracefully, the new one starts at once"
            assert (await status(world)).replicas == 2
            await world.run_pods()
            assert first.metadata.name not in names(await world.pods())

    fake_time(story())


def test_scaling_down_ends_the_cheapest_first(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(3)
            await world.run_pods()
            cheap = (await world.pods())[1]
            annotation = {"controller.kubernetes.io/pod-deletion-cost": "-100"}
            await world.client.patch(POD, cheap.key, {"metadata": {"annotations": annotation}})
            await world.client.patch(REPLICA_SET, KEY, {"spec": {"replicas": 2}})
            await world.settle()
            ending = [item for item in await world.pods() if item.deleting]
            assert names(ending) == {cheap.metadata.name}
            assert await world.again() == []

    fake_time(story())


def test_scaling_down_spares_ready_pods_when_others_are_there(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(3)
            await world.run_pods()
            sick = (await world.pods())[2]
            await world.report(sick, ready=False)
            await world.client.scale(REPLICA_SET, KEY, 2)
            await world.settle()
            assert names(item for item in await world.pods() if item.deleting) == {
                sick.metadata.name
            }

    fake_time(story())


async def activate(world: World, replica_set: ReplicaSet) -> None:
    """The node creates the Pod of a sandbox that it started for a request."""
    moment = format_timestamp(world.clock.wall())
    activated = pod(
        "rs-actvd",
        labels={"app": "x"},
        annotations={"node.knarr.dev/activated": moment},
        owner_references=(owner_reference(replica_set),),
    )
    activated = replace(activated, spec=replace(activated.spec, node_name="node"))
    await world.client.create(POD, activated)
    await world.report(activated)
    await world.settle()


def test_an_activated_pod_is_left_alone_for_30_s(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            replica_set = await world.replicate(0)
            await activate(world, replica_set)
            assert not (await world.pods())[0].deleting
            started = world.clock.monotonic()
            while not any(item.deleting for item in await world.pods()):
                await world.settle()
            assert 27 <= world.clock.monotonic() - started <= 31

    fake_time(story())


def test_an_activated_pod_is_the_replica_that_the_scale_asks_for(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            replica_set = await world.replicate(0)
            await activate(world, replica_set)
            await world.client.scale(REPLICA_SET, KEY, 1)
            for _ in range(60):
                await world.settle()
            pods = await world.pods()
            assert names(pods) == {"rs-actvd"}
            assert not pods[0].deleting

    fake_time(story())


def test_a_slow_pod_gives_way_to_an_activated_one(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            replica_set = await world.replicate(1)
            await activate(world, replica_set)
            await world.run_pods()
            assert names(await world.pods()) == {"rs-actvd"}

    fake_time(story())


def test_what_refuses_pods_becomes_a_condition_and_heals(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            world.transport.refuse["POST /api/v1/namespaces/ns/pods"] = Forbidden("exceeded quota")
            await world.replicate(8)
            condition = (await status(world)).conditions[0]
            assert (condition.type, condition.status, condition.reason) == (
                "ReplicaFailure",
                "True",
                "FailedCreate",
            )
            assert condition.message == "exceeded quota"
            attempts = [write for write in world.transport.writes if write.endswith("/pods")]
            assert len(attempts) < 16, "one attempt per pass finds out, not eight"
            world.transport.refuse.clear()
            for _ in range(5):
                await world.settle()
            assert len(await world.pods()) == 8
            assert (await status(world)).conditions == ()

    fake_time(story())


def test_a_pod_that_leaves_the_selector_is_released_and_replaced(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(1)
            await world.run_pods()
            quarantined = (await world.pods())[0]
            await world.client.patch(
                POD, quarantined.key, {"metadata": {"labels": {"app": "debug"}}}
            )
            await world.settle()
            pods = {item.metadata.name: item for item in await world.pods()}
            assert len(pods) == 2
            assert pods[quarantined.metadata.name].metadata.owner_references is None
            assert not pods[quarantined.metadata.name].deleting

    fake_time(story())


def test_finished_pods_are_kept_for_a_look_but_not_for_ever(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(1)
            for _ in range(6):
                await world.run_pods()
                running = [item for item in await world.pods() if item.status.phase == "Running"]
                await world.report(running[0], ready=False, phase="Failed")
                await world.settle()
            phases = sorted(item.status.phase for item in await world.pods())
            assert phases == ["Failed", "Failed", "Failed", "Pending"]

    fake_time(story())


def test_min_ready_seconds_delay_availability(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(1, min_ready_seconds=20)
            await world.run_pods()
            assert (await status(world)).ready_replicas == 1
            assert (await status(world)).available_replicas == 0
            for _ in range(22):
                await world.settle()
            assert (await status(world)).available_replicas == 1

    fake_time(story())


def test_deleting_the_replica_set_takes_its_pods(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(2)
            await world.run_pods()
            await world.client.delete(REPLICA_SET, KEY)
            await world.settle()
            await world.run_pods()
            assert await world.pods() == []

    fake_time(story())


def test_timestamps_from_the_future_do_not_protect_for_ever():
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    later = format_timestamp(now + dt.timedelta(hours=2))
    odd = pod("p", labels={"app": "x"}, annotations={"node.knarr.dev/activated": later})
    empty = ReplicaSet(
        metadata=ObjectMeta(name="rs", namespace="ns"), spec=ReplicaSetSpec(replicas=0)
    )
    plan = plan_replica_set(empty, (odd,), now)
    assert plan.delete == ()
    assert plan.requeue_after_s == 30.0
