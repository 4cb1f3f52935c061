import pytest
from tests.unit.workloads.world import CA, World

from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.event import EVENT
from knarr.resources.core.namespace import NAMESPACE, Namespace
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT

NS = Key("", "ns")


def test_a_namespace_has_an_account_and_the_root_ca(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(NAMESPACE, Namespace(metadata=ObjectMeta(name="new")))
            await world.settle()
            await world.client.get(SERVICE_ACCOUNT, Key("new", "default"))
            published = await world.client.get(CONFIG_MAP, Key("new", "kube-root-ca.crt"))
            assert published.data == {"ca.crt": CA}
            assert await world.again() == []

    fake_time(story())


def test_what_a_namespace_must_have_comes_back(fake_time):
    async def story():
        async with World() as world:
            await world.client.delete(SERVICE_ACCOUNT, Key("ns", "default"))
            await world.client.patch(
                CONFIG_MAP, Key("ns", "kube-root-ca.crt"), {"data": {"ca.crt": "x"}}
            )
            await world.settle()
            await world.client.get(SERVICE_ACCOUNT, Key("ns", "default"))
            published = await world.client.get(CONFIG_MAP, Key("ns", "kube-root-ca.crt"))
            assert published.data["ca.crt"] == CA

    fake_time(story())


def test_a_deleted_namespace_is_emptied_and_goes(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=2)
            await world.run_pods()
            await world.client.delete(NAMESPACE, NS)
            await world.settle()
            terminating = await world.client.get(NAMESPACE, NS)
            assert terminating.status.phase == "Terminating"
            texts = {item.type: item.message for item in terminating.status.conditions}
            assert texts["NamespaceContentRemaining"] == (
                "Some resources are remaining: pods has 2 resource instances"
            )
            await world.run_pods()
            with pytest.raises(NotFound):
                await world.client.get(NAMESPACE, NS)
            assert (await world.client.list(EVENT, "ns")).items == ()

    fake_time(story())


def test_a_finalizer_holds_the_namespace_and_is_named(fake_time):
    async def story():
        async with World() as world:
            held = ConfigMap(
                metadata=ObjectMeta(name="held", namespace="ns", finalizers=("example.com/wait",))
            )
            await world.client.create(CONFIG_MAP, held)
            await world.client.delete(NAMESPACE, NS)
            await world.settle()
            texts = {
                i.type: i.message for i in (await world.client.get(NAMESPACE, NS)).status.conditions
            }
            assert texts["NamespaceFinalizersRemaining"] == (
                "Some content in the namespace has finalizers remaining: "
                "example.com/wait in 1 resource instances"
            )
            assert await world.again() == []
            await world.client.patch(CONFIG_MAP, held.key, {"metadata": {"finalizers": None}})
            await world.settle()
            with pytest.raises(NotFound):
                await world.client.get(NAMESPACE, NS)

    fake_time(story())
