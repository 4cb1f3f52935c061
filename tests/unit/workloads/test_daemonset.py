"""DaemonSets under the real API; the test plays the node."""

from tests.unit.workloads.world import SELECTOR, World, replace, template

from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apps.controllerrevision import CONTROLLER_REVISION
from knarr.resources.apps.daemonset import DAEMON_SET, DaemonSet, DaemonSetSpec
from knarr.resources.core.node import NODE, Node, NodeSpec, Taint
from knarr.resources.core.pod import POD

KEY = Key("ns", "agent")


async def make(world, **spec):
    subject = DaemonSet(
        metadata=ObjectMeta(name="agent", namespace="ns"),
        spec=DaemonSetSpec(**{"selector": SELECTOR, "template": template(), **spec}),
    )
    await world.client.create(DAEMON_SET, subject)
    await world.settle()


async def status(world):
    return (await world.client.get(DAEMON_SET, KEY)).status


async def set_node(world, **spec):
    node = await world.client.get(NODE, Key("", "node"))
    await world.client.update(NODE, replace(node, spec=NodeSpec(**spec)))
    await world.settle()


def test_one_pod_per_node(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world)
            pods = await world.pods()
            assert [pod.spec.node_name for pod in pods] == ["node"]
            assert pods[0].metadata.generate_name == "agent-"
            await world.run_pods()
            found = await status(world)
            assert (found.desired_number_scheduled, found.current_number_scheduled) == (1, 1)
            assert (found.number_ready, found.number_available) == (1, 1)
            assert (found.updated_number_scheduled, found.number_unavailable) == (1, 0)
            await world.client.create(NODE, Node(metadata=ObjectMeta(name="second")))
            await world.settle()
            assert {pod.spec.node_name for pod in await world.pods()} == {"node", "second"}
            assert (await status(world)).number_unavailable == 1
            await world.client.delete(NODE, Key("", "second"))
            await world.settle()
            assert (await status(world)).desired_number_scheduled == 1
            assert await world.again() == []
            assert world.errors() == 0

    fake_time(story())


def test_a_pod_that_ended_or_went_is_replaced(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world)
            await world.run_pods()
            first = (await world.pods())[0]
            await world.client.delete(POD, first.key, grace_s=0)
            await world.settle()
            second = (await world.pods())[0]
            assert second.metadata.uid != first.metadata.uid
            await world.report(second, phase="Failed", ready=False)
            await world.settle()
            await world.run_pods()
            third = (await world.pods())[0]
            assert third.metadata.uid != second.metadata.uid

    fake_time(story())


def test_cordons_do_not_matter_and_taints_do(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world)
            await world.run_pods()
            await set_node(world, unschedulable=True)
            assert len(await world.pods()) == 1
            await set_node(world, taints=(Taint(key="k", effect="NoSchedule"),))
            await world.run_pods()
            assert not await world.pods()
            assert (await status(world)).desired_number_scheduled == 0

    fake_time(story())


def test_nodes_are_selected_by_labels(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            pods = template()
            pods = replace(pods, spec=replace(pods.spec, node_selector={"disk": "ssd"}))
            await make(world, template=pods)
            assert not await world.pods()
            await world.client.patch(
                NODE, Key("", "node"), {"metadata": {"labels": {"disk": "ssd"}}}
            )
            await world.settle()
            assert len(await world.pods()) == 1

    fake_time(story())


def test_an_update_replaces_the_pod(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world)
            await world.run_pods()
            patch = {
                "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}
            }
            await world.client.patch(DAEMON_SET, KEY, patch)
            await world.settle()
            assert (await status(world)).updated_number_scheduled == 0
            await world.run_pods()
            assert [pod.spec.containers[0].image for pod in await world.pods()] == ["two"]
            assert (await status(world)).updated_number_scheduled == 1
            assert len(list(await world.client.list(CONTROLLER_REVISION, "ns"))) == 2
            on_delete = {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}
            await world.client.patch(DAEMON_SET, KEY, on_delete)
            patch["spec"]["template"]["spec"]["containers"][0]["image"] = "three"
            await world.client.patch(DAEMON_SET, KEY, patch)
            await world.settle()
            await world.run_pods()
            assert [pod.spec.containers[0].image for pod in await world.pods()] == ["two"]

    fake_time(story())
