import pytest
from tests.unit.workloads.world import World

from knarr.meta.objects import Key, ObjectMeta, OwnerReference
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.namespace import NAMESPACE, Namespace


def config_map(name: str, *owners: OwnerReference, namespace="ns") -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(name=name, namespace=namespace, owner_references=owners or None)
    )


def owned_by(owner: ConfigMap, *, blocks=False, **changes) -> OwnerReference:
    fields = {
        "api_version": "v1",
        "kind": "ConfigMap",
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
    }
    return OwnerReference(**{**fields, **changes}, block_owner_deletion=blocks or None)


async def names(world, namespace="ns") -> set[str]:
    found = await world.client.list(CONFIG_MAP, namespace)
    return {item.metadata.name for item in found} - {"kube-root-ca.crt"}


async def make(world, name, *owners, **arguments) -> ConfigMap:
    return await world.client.create(CONFIG_MAP, config_map(name, *owners, **arguments))


def test_what_loses_its_owner_goes_generation_by_generation(fake_time):
    async def story():
        async with World() as world:
            root = await make(world, "root")
            child = await make(world, "child", owned_by(root))
            await make(world, "grandchild", owned_by(child))
            await make(world, "stranger")
            await world.settle()
            await world.client.delete(CONFIG_MAP, root.key)
            await world.settle()
            assert await names(world) == {"stranger"}
            assert world.errors() == 0

    fake_time(story())


def test_an_owner_that_never_was_is_as_good_as_gone(fake_time):
    async def story():
        async with World() as world:
            ghost = OwnerReference(
                api_version="v1", kind="ConfigMap", name="ghost", uid="no-such-uid"
            )
            await make(world, "child", ghost)
            await world.settle()
            assert await names(world) == set()

    fake_time(story())


def test_a_successor_of_the_same_name_is_another_owner(fake_time):
    async def story():
        async with World() as world:
            root = await make(world, "root")
            await world.client.delete(CONFIG_MAP, root.key)
            await make(world, "root")
            await make(world, "child", owned_by(root))
            await world.settle()
            assert await names(world) == {"root"}

    fake_time(story())


def test_one_living_owner_is_enough_and_dead_references_are_removed(fake_time):
    async def story():
        async with World() as world:
            first, second = await make(world, "first"), await make(world, "second")
            child = await make(world, "child", owned_by(first), owned_by(second))
            await world.client.delete(CONFIG_MAP, first.key)
            await world.settle()
            kept = await world.client.get(CONFIG_MAP, child.key)
            assert [item.name for item in kept.metadata.owner_references] == ["second"]
            assert await world.again() == []

    fake_time(story())


@pytest.mark.parametrize(
    "changes",
    [{"api_version": "example.com/v1", "kind": "Widget"}, {"kind": "Nothing"}],
)
def test_owners_of_unknown_kinds_are_left_to_those_who_know_them(fake_time, changes):
    async def story():
        async with World() as world:
            root = await make(world, "root")
            await make(world, "child", owned_by(root, **changes))
            await world.client.delete(CONFIG_MAP, root.key)
            await world.settle()
            assert await names(world) == {"child"}

    fake_time(story())


def test_owners_in_other_namespaces_are_ignored(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(NAMESPACE, Namespace(metadata=ObjectMeta(name="other")))
            far = await make(world, "far", namespace="other")
            await world.settle()
            await make(world, "child", owned_by(far))
            await world.settle()
            assert await names(world) == {"child"}

    fake_time(story())


def test_the_foreground_waits_for_blocking_dependents(fake_time):
    async def story():
        async with World() as world:
            root = await make(world, "root")
            held = config_map("held", owned_by(root, blocks=True))
            held = type(held)(
                metadata=ObjectMeta(
                    name="held",
                    namespace="ns",
                    owner_references=held.metadata.owner_references,
                    finalizers=("example.com/wait",),
                )
            )
            await world.client.create(CONFIG_MAP, held)
            await make(world, "free", owned_by(root))
            await world.settle()
            await world.client.delete(CONFIG_MAP, root.key, propagation="Foreground")
            await world.settle()
            assert await names(world) == {"root", "held"}
            assert (await world.client.get(CONFIG_MAP, Key("ns", "held"))).deleting
            await world.client.patch(
                CONFIG_MAP, Key("ns", "held"), {"metadata": {"finalizers": None}}
            )
            await world.settle()
            assert await names(world) == set()
            assert world.errors() == 0

    fake_time(story())


def test_the_foreground_goes_through_all_generations(fake_time):
    async def story():
        async with World() as world:
            root = await make(world, "root")
            child = await make(world, "child", owned_by(root, blocks=True))
            await make(world, "grandchild", owned_by(child, blocks=True))
            await world.settle()
            await world.client.delete(CONFIG_MAP, root.key, propagation="Foreground")
            await world.settle()
            assert await names(world) == set()

    fake_time(story())


def test_orphans_live_on_without_their_owner(fake_time):
    async def story():
        async with World() as world:
            root = await make(world, "root")
            child = await make(world, "child", owned_by(root))
            await world.settle()
            await world.client.delete(CONFIG_MAP, root.key, propagation="Orphan")
            await world.settle()
            assert await names(world) == {"child"}
            assert (await world.client.get(CONFIG_MAP, child.key)).metadata.owner_references is None

    fake_time(story())


def test_a_child_that_is_born_before_the_cache_knows_its_owner_lives(fake_time):
    async def story():
        async with World() as world:
            for number in range(50):
                root = await make(world, f"root{number}")
                await make(world, f"child{number}", owned_by(root))
            await world.settle()
            assert len(await names(world)) == 100

    fake_time(story())
