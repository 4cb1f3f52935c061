"""Aggregated roles, and Secrets that hold tokens."""

import pytest
from msgspec.structs import replace
from tests.unit.workloads.world import CA, World

from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.references import LabelSelector
from knarr.resources.core.secret import ACCOUNT_NAME, ACCOUNT_UID, SECRET, Secret
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT, ServiceAccount
from knarr.resources.rbac.role import (
    CLUSTER_ROLE,
    AggregationRule,
    ClusterRole,
    PolicyRule,
)


def rule(resource):
    return PolicyRule(verbs=("get",), api_groups=("",), resources=(resource,))


def role(name, *resources, labels=None, takes=None):
    aggregation = None
    if takes:
        selectors = tuple(LabelSelector(match_labels={key: "true"}) for key in takes)
        aggregation = AggregationRule(cluster_role_selectors=selectors)
    return ClusterRole(
        metadata=ObjectMeta(name=name, labels=labels),
        rules=tuple(rule(each) for each in resources),
        aggregation_rule=aggregation,
    )


def resources(found):
    return [each.resources[0] for each in found.rules]


def test_aggregated_roles_follow_those_they_select(fake_time):
    async def story():
        async with World() as world:
            create, get = world.client.create, world.client.get
            await create(CLUSTER_ROLE, role("all", "wrong", takes=["a", "b"]))
            await create(CLUSTER_ROLE, role("z", "pods", "jobs", labels={"a": "true"}))
            await create(
                CLUSTER_ROLE, role("y", "nodes", "pods", labels={"a": "true", "b": "true"})
            )
            await create(CLUSTER_ROLE, role("x", "secrets", labels={"a": "false"}))
            await world.settle()
            found = await get(CLUSTER_ROLE, Key("", "all"))
            assert resources(found) == ["nodes", "pods", "jobs"]
            await world.client.patch(
                CLUSTER_ROLE, Key("", "x"), {"metadata": {"labels": {"b": "true"}}}
            )
            await world.client.delete(CLUSTER_ROLE, Key("", "y"))
            await world.settle()
            found = await get(CLUSTER_ROLE, Key("", "all"))
            assert resources(found) == ["pods", "jobs", "secrets"]
            await world.client.update(CLUSTER_ROLE, replace(found, rules=()))
            await world.settle()
            assert resources(await get(CLUSTER_ROLE, Key("", "all"))) == ["pods", "jobs", "secrets"]
            assert await world.again() == []

    fake_time(story())


def test_roles_lend_on_what_they_got(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(CLUSTER_ROLE, role("admin", takes=["to-admin"]))
            edit = role("edit", takes=["to-edit"], labels={"to-admin": "true"})
            await world.client.create(CLUSTER_ROLE, edit)
            await world.client.create(
                CLUSTER_ROLE, role("mine", "pods", labels={"to-edit": "true"})
            )
            await world.settle()
            assert resources(await world.client.get(CLUSTER_ROLE, Key("", "admin"))) == ["pods"]
            # Circles come to rest.
            circle = {"metadata": {"labels": {"to-edit": "true"}}}
            await world.client.patch(CLUSTER_ROLE, Key("", "admin"), circle)
            await world.settle()
            assert await world.again() == []

    fake_time(story())


def secret(name, account="robot", **annotations):
    return Secret(
        metadata=ObjectMeta(
            name=name, namespace="ns", annotations={ACCOUNT_NAME: account, **annotations}
        ),
        type="kubernetes.io/service-account-token",
    )


async def robot(world):
    account = ServiceAccount(metadata=ObjectMeta(name="robot", namespace="ns"))
    return await world.client.create(SERVICE_ACCOUNT, account)


def test_secrets_get_tokens_and_go_with_their_account(fake_time):
    async def story():
        async with World() as world:
            account = await robot(world)
            await world.client.create(SECRET, secret("s"))
            await world.client.create(SECRET, Secret(metadata=ObjectMeta(name="t", namespace="ns")))
            await world.settle()
            found = await world.client.get(SECRET, Key("ns", "s"))
            uid = account.metadata.uid
            assert found.metadata.annotation(ACCOUNT_UID) == uid
            assert found.data == {
                "ca.crt": CA.encode(), "namespace": b"ns", "token": f"ns/robot {uid} s".encode(),
            }  # fmt: skip
            assert await world.again() == []
            await world.client.delete(SERVICE_ACCOUNT, account.key)
            await world.settle()
            with pytest.raises(NotFound):
                await world.client.get(SECRET, Key("ns", "s"))
            await world.client.get(SECRET, Key("ns", "t"))

    fake_time(story())


@pytest.mark.parametrize("wrong", [{"account": "nobody"}, {ACCOUNT_UID: "another"}])
def test_secrets_without_their_account_are_deleted(fake_time, wrong):
    async def story():
        async with World() as world:
            await robot(world)
            await world.client.create(SECRET, secret("s", **wrong))
            await world.settle()
            with pytest.raises(NotFound):
                await world.client.get(SECRET, Key("ns", "s"))

    fake_time(story())
