"""Quota status, disruption budgets, priorities and taints under the real API."""

import pytest
from tests.unit.workloads.world import SELECTOR, World, pod, replace

from knarr.meta.errors import TooManyRequests
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.node import NODE, NodeSpec, Taint
from knarr.resources.core.pod import POD
from knarr.resources.core.podspec import Toleration
from knarr.resources.core.resourcequota import RESOURCE_QUOTA, ResourceQuota, ResourceQuotaSpec
from knarr.resources.policy.poddisruptionbudget import (
    POD_DISRUPTION_BUDGET,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
)
from knarr.resources.scheduling.priorityclass import PRIORITY_CLASS, PriorityClass

BUDGET = Key("ns", "budget")


async def make_quota(world, **hard):
    names = {name.replace("_", "."): amount for name, amount in hard.items()}
    subject = ResourceQuota(
        metadata=ObjectMeta(name="q", namespace="ns"), spec=ResourceQuotaSpec(hard=names)
    )
    await world.client.create(RESOURCE_QUOTA, subject)
    await world.settle()


async def used(world):
    return (await world.client.get(RESOURCE_QUOTA, Key("ns", "q"))).status.used


def test_what_is_used_is_written_down(fake_time):
    async def story():
        async with World() as world:
            await make_quota(world, pods="5", requests_cpu="2", configmaps="5")
            assert await used(world) == {"pods": "0", "requests.cpu": "0", "configmaps": "1"}
            await world.client.create(POD, pod("a", cpu="250m"))
            await world.client.create(POD, pod("b", cpu="1"))
            await world.client.create(
                CONFIG_MAP, ConfigMap(metadata=ObjectMeta(name="c", namespace="ns"))
            )
            await world.settle()
            assert await used(world) == {"pods": "2", "requests.cpu": "1250m", "configmaps": "2"}
            await world.client.delete(POD, Key("ns", "b"))
            await world.settle()
            assert await used(world) == {"pods": "1", "requests.cpu": "250m", "configmaps": "2"}
            assert await world.again() == []

    fake_time(story())


def test_a_quota_stops_a_replica_set_and_the_deployment_says_so(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make_quota(world, pods="1")
            await world.deploy(replicas=3)
            assert len(await world.pods()) == 1
            deployment = await world.deployment()
            failure = next(
                item for item in deployment.status.conditions if item.type == "ReplicaFailure"
            )
            assert (failure.status, failure.reason) == ("True", "FailedCreate")
            assert "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1" in (
                failure.message
            )
            raised = {"spec": {"hard": {"pods": "5"}}}
            await world.client.patch(RESOURCE_QUOTA, Key("ns", "q"), raised)
            for _ in range(120):
                await world.settle()
            assert len(await world.pods()) == 3
            kinds = {item.type for item in (await world.deployment()).status.conditions}
            assert "ReplicaFailure" not in kinds

    fake_time(story())


# --- budgets --------------------------------------------------------------------------------------------


async def make_budget(world, **spec):
    subject = PodDisruptionBudget(
        metadata=ObjectMeta(name="budget", namespace="ns"),
        spec=PodDisruptionBudgetSpec(selector=SELECTOR, **spec),
    )
    await world.client.create(POD_DISRUPTION_BUDGET, subject)
    await world.settle()


async def budget(world):
    return (await world.client.get(POD_DISRUPTION_BUDGET, BUDGET)).status


async def evict(world, name):
    path = f"{POD.object_path(Key('ns', name))}/eviction"
    body = b'{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s"}}' % name.encode()
    await world.client.transport.request("POST", path, body=body)
    await world.settle()


def test_evictions_are_bounded(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.replicate(3)
            await world.run_pods()
            await make_budget(world, min_available=2)
            status = await budget(world)
            assert (status.current_healthy, status.desired_healthy) == (3, 2)
            assert (status.disruptions_allowed, status.expected_pods) == (1, 3)
            names = sorted(item.metadata.name for item in await world.pods())
            await evict(world, names[0])
            status = await budget(world)
            assert (status.disruptions_allowed, status.current_healthy) == (0, 2)
            with pytest.raises(TooManyRequests) as caught:
                await evict(world, names[1])
            assert caught.value.message == (
                "Cannot evict pod as it would violate the pod's disruption budget."
            )
            assert caught.value.causes[0].message == (
                "The disruption budget budget needs 2 healthy pods and has 2 currently"
            )
            await world.run_pods()
            assert (await budget(world)).disruptions_allowed == 1
            assert await world.again() == []

    fake_time(story())


@pytest.mark.parametrize(
    ("spec", "allowed", "desired"),
    [
        ({"max_unavailable": 1}, 1, 3),
        ({"max_unavailable": "50%"}, 2, 2),
        ({"min_available": "60%"}, 1, 3),
        ({"min_available": 5}, 0, 5),
    ],
)
def test_bounds(fake_time, spec, allowed, desired):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.deploy(replicas=4)
            await world.run_pods()
            await make_budget(world, **spec)
            status = await budget(world)
            assert (status.disruptions_allowed, status.desired_healthy) == (allowed, desired)
            condition = status.conditions[0]
            assert condition.type == "DisruptionAllowed"
            assert condition.reason == ("SufficientPods" if allowed else "InsufficientPods")

    fake_time(story())


def test_pods_without_a_budget_and_pods_that_never_ran_go_at_once(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(POD, pod("alone"))
            await world.settle()
            await evict(world, "alone")
            assert not await world.pods()

    fake_time(story())


# --- the scheduler --------------------------------------------------------------------------------------


def test_the_most_important_pod_goes_first(fake_time):
    async def story():
        async with World() as world:
            high = PriorityClass(metadata=ObjectMeta(name="high"), value=100)
            await world.client.create(PRIORITY_CLASS, high)
            await world.settle()
            await world.add_node(cpu="1")
            await world.client.create(POD, pod("first", cpu="1"))
            await world.settle()
            await world.client.create(POD, pod("low", cpu="1"))
            important = pod("high", cpu="1")
            spec = replace(important.spec, priority_class_name="high")
            await world.client.create(POD, replace(important, spec=spec))
            await world.settle()
            await world.client.delete(POD, Key("ns", "first"), grace_s=0)
            await world.settle()
            bound = {item.metadata.name: item.spec.node_name for item in await world.pods()}
            assert bound == {"low": "", "high": "node"}

    fake_time(story())


async def taint(world, *taints, unschedulable=False):
    node = await world.client.get(NODE, Key("", "node"))
    spec = NodeSpec(taints=taints, unschedulable=unschedulable)
    await world.client.update(NODE, replace(node, spec=spec))
    await world.settle()


def test_taints_and_cordons_keep_pods_away(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await taint(world, Taint(key="k", value="v", effect="NoSchedule"))
            await world.client.create(POD, pod("plain"))
            tolerant = pod("tolerant")
            toleration = Toleration(key="k", operator="Equal", value="v", effect="NoSchedule")
            spec = replace(tolerant.spec, tolerations=(toleration,))
            await world.client.create(POD, replace(tolerant, spec=spec))
            await world.settle()
            found = {item.metadata.name: item for item in await world.pods()}
            assert found["tolerant"].spec.node_name == "node"
            message = found["plain"].status.conditions[0].message
            assert message == "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}."
            await taint(world, unschedulable=True)
            again = (await world.client.get(POD, Key("ns", "plain"))).status.conditions[0].message
            assert again == "0/1 nodes are available: 1 node(s) were unschedulable."
            await taint(world)
            assert (await world.client.get(POD, Key("ns", "plain"))).spec.node_name == "node"

    fake_time(story())


def test_pods_of_other_schedulers_are_theirs(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            other = pod("other")
            spec = replace(other.spec, scheduler_name="mine")
            await world.client.create(POD, replace(other, spec=spec))
            await world.settle()
            assert not (await world.pods())[0].spec.node_name
            path = f"{POD.object_path(Key('ns', 'other'))}/binding"
            body = b'{"apiVersion":"v1","kind":"Binding","target":{"kind":"Node","name":"node"}}'
            await world.client.transport.request("POST", path, body=body)
            await world.settle()
            assert (await world.pods())[0].spec.node_name == "node"

    fake_time(story())
