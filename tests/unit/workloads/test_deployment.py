import pytest
from tests.unit.workloads.world import SELECTOR, World, template

from knarr.meta.errors import Forbidden
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apps.deployment import DEPLOYMENT, DeploymentStrategy, RollingUpdate
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet, ReplicaSetSpec
from knarr.resources.core.event import EVENT
from knarr.workloads.deployment.resources import template_hash

KEY = Key("ns", "app")
REVISION = "deployment.kubernetes.io/revision"


def condition(deployment, kind):
    found = [item for item in deployment.status.conditions if item.type == kind]
    return (found[0].status, found[0].reason, found[0].message) if found else None


async def sizes(world) -> dict[str, int]:
    """Replicas by the image of each ReplicaSet."""
    return {
        item.spec.template.spec.containers[0].image: item.spec.replicas
        for item in await world.replica_sets()
    }


def test_a_rollout_ends_complete_and_available(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=2)
            await world.run_pods()
            deployment = await world.deployment()
            (replica_set,) = await world.replica_sets()
            unique = replica_set.metadata.labels["pod-template-hash"]
            assert replica_set.metadata.name == f"app-{unique}"
            assert replica_set.spec.selector.match_labels == {
                "app": "x",
                "pod-template-hash": unique,
            }
            assert replica_set.metadata.annotations[REVISION] == "1"
            assert deployment.metadata.annotations[REVISION] == "1"
            status = deployment.status
            assert (status.replicas, status.updated_replicas, status.available_replicas) == (
                2,
                2,
                2,
            )
            assert status.observed_generation == deployment.metadata.generation
            assert status.unavailable_replicas == 0
            assert condition(deployment, "Available") == (
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            )
            assert condition(deployment, "Progressing") == (
                "True",
                "NewReplicaSetAvailable",
                f'ReplicaSet "{replica_set.metadata.name}" has successfully progressed.',
            )
            assert await world.again() == []
            assert world.errors() == 0

    fake_time(story())


def test_before_pods_are_ready_it_is_progressing_and_unavailable(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=1)
            deployment = await world.deployment()
            assert condition(deployment, "Available") == (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
            assert condition(deployment, "Progressing")[0] == "True"
            assert deployment.status.unavailable_replicas == 1

    fake_time(story())


def test_events_say_what_was_scaled(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=2)
            (replica_set,) = await world.replica_sets()
            messages = {item.message for item in await world.client.list(EVENT, "ns")}
            assert f"Scaled up replica set {replica_set.metadata.name} from 0 to 2" in messages

    fake_time(story())


def test_a_rolling_update_replaces_pods_and_keeps_them_available(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=4)
            await world.run_pods()
            await world.set_image("two")
            assert await sizes(world) == {"one": 3, "two": 2}, "25 % more, 25 % fewer"
            await world.run_pods()
            assert await sizes(world) == {"one": 0, "two": 4}
            deployment = await world.deployment()
            assert deployment.metadata.annotations[REVISION] == "2"
            assert condition(deployment, "Progressing")[1] == "NewReplicaSetAvailable"
            images = {item.spec.containers[0].image for item in await world.pods()}
            assert images == {"two"}
            assert await world.again() == []

    fake_time(story())


def test_knatives_deployment_never_has_less_than_all_replicas(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            strategy = DeploymentStrategy(
                type="RollingUpdate",
                rolling_update=RollingUpdate(max_unavailable=0, max_surge="25%"),
            )
            await world.deploy(replicas=1, strategy=strategy, revision_history_limit=0)
            await world.run_pods()
            await world.set_image("two")
            assert await sizes(world) == {"one": 1, "two": 1}
            await world.run_pods()
            assert await sizes(world) == {"two": 1}, "no history is kept"
            assert await world.again() == []

    fake_time(story())


def test_scaling_is_one_write_to_the_replica_set(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=0)
            world.transport.writes.clear()
            await world.client.scale(DEPLOYMENT, KEY, 3)
            await world.settle()
            assert await sizes(world) == {"one": 3}
            assert len([write for write in world.transport.writes if write.endswith("/pods")]) == 3
            patches = [
                w for w in world.transport.writes if w.startswith("PATCH") and "replicasets" in w
            ]
            assert len(patches) == 1
            await world.client.scale(DEPLOYMENT, KEY, 0)
            await world.settle()
            await world.run_pods()
            assert await world.pods() == []
            assert await world.again() == []

    fake_time(story())


def test_recreate_starts_nothing_before_the_last_old_pod_is_gone(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=2, strategy=DeploymentStrategy(type="Recreate"))
            await world.run_pods()
            await world.set_image("two")
            assert await sizes(world) == {"one": 0}
            assert all(item.deleting for item in await world.pods())
            await world.run_pods()
            assert await sizes(world) == {"one": 0, "two": 2}
            assert {item.spec.containers[0].image for item in await world.pods()} == {"two"}

    fake_time(story())


def test_a_rollout_without_progress_times_out_with_kubernetes_text_and_can_recover(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=1, progress_deadline_seconds=10)
            (replica_set,) = await world.replica_sets()
            name = replica_set.metadata.name
            for _ in range(12):
                await world.settle()
            assert condition(await world.deployment(), "Progressing") == (
                "False",
                "ProgressDeadlineExceeded",
                f'ReplicaSet "{name}" has timed out progressing.',
            )
            assert await world.again() == []
            await world.run_pods()
            assert condition(await world.deployment(), "Progressing")[:2] == (
                "True",
                "NewReplicaSetAvailable",
            )

    fake_time(story())


def test_a_refusal_of_pods_shows_on_the_deployment(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            world.transport.refuse["POST /api/v1/namespaces/ns/pods"] = Forbidden("exceeded quota")
            await world.deploy(replicas=1)
            assert condition(await world.deployment(), "ReplicaFailure") == (
                "True",
                "FailedCreate",
                "exceeded quota",
            )
            world.transport.refuse.clear()
            for _ in range(4):
                await world.settle()
            assert condition(await world.deployment(), "ReplicaFailure") is None

    fake_time(story())


def test_going_back_reuses_the_old_replica_set_under_a_new_revision(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=1)
            await world.run_pods()
            await world.set_image("two")
            await world.run_pods()
            await world.set_image("one")
            await world.run_pods()
            sets = {i.spec.template.spec.containers[0].image: i for i in await world.replica_sets()}
            assert len(sets) == 2
            assert sets["one"].metadata.annotations[REVISION] == "3"
            assert (await world.deployment()).metadata.annotations[REVISION] == "3"
            assert await sizes(world) == {"one": 1, "two": 0}

    fake_time(story())


def test_old_replica_sets_beyond_the_history_limit_go(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=1, revision_history_limit=2)
            await world.run_pods()
            for image in ("two", "three", "four", "five"):
                await world.set_image(image)
                await world.run_pods()
            assert await sizes(world) == {"three": 0, "four": 0, "five": 1}

    fake_time(story())


def test_a_paused_deployment_scales_but_does_not_roll(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=1)
            await world.run_pods()
            await world.patch_deployment(paused=True)
            await world.set_image("two")
            await world.patch_deployment(replicas=3)
            await world.run_pods()
            assert await sizes(world) == {"one": 3}
            paused = await world.deployment()
            assert condition(paused, "Progressing") == (
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused",
            )
            assert await world.again() == []
            await world.patch_deployment(paused=False)
            await world.run_pods()
            assert await sizes(world) == {"one": 0, "two": 3}

    fake_time(story())


def test_a_name_that_is_taken_is_a_collision_and_gets_another_hash(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            defaulted = (await world.deploy(replicas=1)).spec.template
            taken = f"app-{template_hash(defaulted, 0)}"
            await world.client.delete(DEPLOYMENT, KEY)
            await world.settle()
            await world.run_pods()
            assert await world.replica_sets() == []
            squatter = ReplicaSet(
                metadata=ObjectMeta(name=taken, namespace="ns"),
                spec=ReplicaSetSpec(replicas=0, selector=SELECTOR, template=template("other")),
            )
            await world.client.create(REPLICA_SET, squatter)
            await world.deploy(replicas=1)
            await world.run_pods()
            deployment = await world.deployment()
            assert deployment.status.collision_count == 1
            assert deployment.status.available_replicas == 1
            names = {item.metadata.name for item in await world.replica_sets()}
            assert names == {taken, f"app-{template_hash(defaulted, 1)}"}

    fake_time(story())


def test_deleting_the_deployment_takes_everything_below(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=2)
            await world.run_pods()
            await world.client.delete(DEPLOYMENT, KEY)
            await world.settle()
            await world.run_pods()
            assert await world.pods() == []
            assert await world.replica_sets() == []

    fake_time(story())


@pytest.mark.parametrize("failing", range(1, 9))
def test_wherever_a_write_fails_the_world_becomes_right(fake_time, failing):
    async def story():
        async with World() as world:
            await world.add_node()
            request, count = world.transport.request, 0

            async def fail_once(method, path, **arguments):
                nonlocal count
                if method != "GET" and "/events" not in path:
                    count += 1
                    if count == failing:
                        raise Forbidden("not now")
                return await request(method, path, **arguments)

            world.transport.request = fail_once
            await world.deploy(replicas=2)
            await world.run_pods()
            status = (await world.deployment()).status
            assert (status.replicas, status.available_replicas) == (2, 2)
            assert len(await world.pods()) == 2
            assert len(await world.replica_sets()) == 1
            assert await world.again() == []

    fake_time(story())
