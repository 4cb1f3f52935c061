"""What selectors mean belongs to whom it is meant for."""

from tests.unit.workloads.world import SELECTOR, World, pod, template

from knarr.meta.objects import Key, ObjectMeta, controller_of
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet, ReplicaSetSpec
from knarr.resources.core.pod import POD


async def owners(world):
    return {
        item.metadata.name: (controller_of(item).name if controller_of(item) else None)
        for item in await world.pods()
    }


def test_a_replica_set_takes_in_pods_that_it_means(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.client.create(POD, pod("mine", labels={"app": "x"}))
            await world.client.create(POD, pod("other", labels={"app": "y"}))
            await world.settle()
            await world.replicate(2)
            found = await owners(world)
            assert found["mine"] == "rs"
            assert found["other"] is None
            assert len(found) == 3, "one Pod is made besides the adopted one"
            assert await world.again() == []

    fake_time(story())


def test_a_label_lets_a_pod_go_and_brings_it_back(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(1)
            await world.run_pods()
            first = (await world.pods())[0].metadata.name
            key = Key("ns", first)
            await world.client.patch(POD, key, {"metadata": {"labels": {"app": "away"}}})
            await world.settle()
            found = await owners(world)
            assert found.pop(first) is None
            assert list(found.values()) == ["rs"]
            await world.client.patch(POD, key, {"metadata": {"labels": {"app": "x"}}})
            await world.settle()
            await world.run_pods()
            assert list((await owners(world)).values()) == ["rs"], "adopted, and one too many"

    fake_time(story())


def test_orphans_of_a_deployment_are_taken_over_by_its_successor(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=2)
            await world.run_pods()
            before = {item.metadata.uid for item in await world.pods()}
            await world.client.delete(DEPLOYMENT, Key("ns", "app"), propagation="Orphan")
            await world.settle()
            (left,) = await world.replica_sets()
            assert controller_of(left) is None
            successor = await world.deploy(replicas=2)
            (taken,) = await world.replica_sets()
            assert controller_of(taken).uid == successor.metadata.uid
            assert {item.metadata.uid for item in await world.pods()} == before
            assert await world.again() == []

    fake_time(story())


def test_a_replica_set_that_leaves_the_selector_is_let_go(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=1)
            await world.run_pods()
            (first,) = await world.replica_sets()
            away = {"metadata": {"labels": {"app": "away"}}}
            await world.client.patch(REPLICA_SET, first.key, away)
            for _ in range(3):
                await world.settle()
            found = {item.metadata.name: controller_of(item) for item in await world.replica_sets()}
            assert found[first.metadata.name] is None

    fake_time(story())


def test_annotations_follow_to_the_current_replica_set(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=1)
            cause = {"metadata": {"annotations": {"kubernetes.io/change-cause": "why"}}}
            await world.client.patch(DEPLOYMENT, Key("ns", "app"), cause)
            await world.settle()
            (current,) = await world.replica_sets()
            assert current.metadata.annotations["kubernetes.io/change-cause"] == "why"
            assert await world.again() == []

    fake_time(story())


def test_an_orphan_replica_set_is_adopted_by_what_means_it(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            orphan = ReplicaSet(
                metadata=ObjectMeta(name="orphan", namespace="ns", labels={"app": "x"}),
                spec=ReplicaSetSpec(replicas=0, selector=SELECTOR, template=template("old")),
            )
            await world.client.create(REPLICA_SET, orphan)
            await world.deploy(replicas=1)
            adopted = await world.client.get(REPLICA_SET, Key("ns", "orphan"))
            assert controller_of(adopted).kind == "Deployment"

    fake_time(story())
