import pytest
from tests.unit.kube.scripted import Scripted, config_map

from knarr.kube.client import Client, NotOwned
from knarr.kube.codec import Undecodable
from knarr.meta.errors import AlreadyExists, Conflict
from knarr.meta.objects import Key, ObjectMeta, OwnerReference
from knarr.resources.apps.deployment import DEPLOYMENT, Deployment
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap

KEY = Key("ns", "a")
OWNER = Deployment(
    api_version="apps/v1",
    kind="Deployment",
    metadata=ObjectMeta(name="d", namespace="ns", uid="uid-d"),
)
REFERENCE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "name": "d",
    "uid": "uid-d",
    "controller": True,
    "blockOwnerDeletion": True,
}


def talk(*answers) -> tuple[Client, Scripted]:
    transport = Scripted(answers=answers)
    return Client(transport), transport


async def test_get_reads_the_object_behind_its_path():
    client, transport = talk(config_map("a", 5))

    assert (await client.get(CONFIG_MAP, KEY)).data == {"v": "5"}
    assert transport.requests == [("GET", "/api/v1/namespaces/ns/configmaps/a", {})]


async def test_list_follows_continue_tokens_and_fills_in_the_kind():
    item = config_map("a", 5)
    del item["kind"], item["apiVersion"]
    client, transport = talk(
        {"metadata": {"resourceVersion": "9", "continue": "next"}, "items": [item]},
        {"metadata": {"resourceVersion": "9"}, "items": None},
    )
    page = await client.list(CONFIG_MAP, label_selector="app=x")

    assert page.resource_version == "9"
    assert [(found.kind, found.api_version) for found in page] == [("ConfigMap", "v1")]
    assert transport.requests[1][2] == {"labelSelector": "app=x", "continue": "next"}


async def test_create_sends_kind_and_version():
    client, transport = talk(config_map("a", 5))
    await client.create(CONFIG_MAP, ConfigMap(metadata=ObjectMeta(name="a", namespace="ns")))

    method, path, body = transport.requests[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/ns/configmaps")
    assert (body["apiVersion"], body["kind"]) == ("v1", "ConfigMap")


async def test_delete_tells_whether_the_object_is_still_there():
    leaving = config_map("a", 6)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    shown = config_map("a", 7)
    client, transport = talk({"kind": "Status", "status": "Success"}, leaving, shown)

    assert (
        await client.delete(CONFIG_MAP, KEY, uid="u", grace_s=0, propagation="Foreground") is None
    )
    assert (await client.delete(CONFIG_MAP, KEY)).metadata.name == "a"
    assert await client.delete(CONFIG_MAP, KEY) is None, "shown as it was, and gone"
    assert transport.requests[0][2] == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Foreground",
        "gracePeriodSeconds": 0,
    }


async def test_scale_patches_the_subresource():
    client, transport = talk({"kind": "Scale"})
    await client.scale(DEPLOYMENT, Key("ns", "d"), 3)

    assert transport.requests == [
        ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/d/scale", {"spec": {"replicas": 3}})
    ]


async def test_an_answer_that_does_not_fit_is_an_error_with_a_path():
    client, _ = talk({**config_map("a", 1), "data": {"k": 1}})

    with pytest.raises(Undecodable, match=r"ConfigMap does not fit its model: .*data"):
        await client.get(CONFIG_MAP, KEY)


def desired(**data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="a", namespace="ns"), data=data)


async def test_apply_creates_what_is_absent_with_its_owner():
    client, transport = talk(config_map("a", 5))
    applied = await client.apply(CONFIG_MAP, desired(v="5"), owner=OWNER)

    assert applied.changed
    assert transport.requests[0][2]["metadata"]["ownerReferences"] == [REFERENCE]


def owned(version: int) -> ConfigMap:
    reference = OwnerReference(
        api_version="apps/v1", kind="Deployment", name="d", uid="uid-d", controller=True
    )
    return ConfigMap(
        metadata=ObjectMeta(
            name="a", namespace="ns", resource_version=str(version), owner_references=(reference,)
        ),
        data={"v": str(version)},
    )


async def test_apply_sends_nothing_when_the_child_is_right():
    client, transport = talk()
    applied = await client.apply(CONFIG_MAP, desired(v="5"), owner=OWNER, current=owned(5))

    assert not applied.changed
    assert transport.requests == []


async def test_apply_patches_the_difference_under_the_version_it_knows():
    client, transport = talk(config_map("a", 6))
    applied = await client.apply(CONFIG_MAP, desired(v="6"), owner=OWNER, current=owned(5))

    assert applied.changed
    assert transport.requests == [
        (
            "PATCH",
            "/api/v1/namespaces/ns/configmaps/a",
            {"metadata": {"resourceVersion": "5"}, "data": {"v": "6"}},
        )
    ]


async def test_apply_with_a_stale_cache_is_a_conflict():
    client, _ = talk(Conflict("stale"))

    with pytest.raises(Conflict):
        await client.apply(CONFIG_MAP, desired(v="6"), current=owned(5))


async def test_apply_reads_what_turned_out_to_exist():
    client, transport = talk(
        AlreadyExists("taken"), config_map("a", 5, ownerReferences=[REFERENCE])
    )
    applied = await client.apply(CONFIG_MAP, desired(v="5"), owner=OWNER)

    assert not applied.changed
    assert [request[0] for request in transport.requests] == ["POST", "GET"]


async def test_apply_never_takes_what_belongs_to_someone_else():
    client, _ = talk(AlreadyExists("taken"), config_map("a", 5))

    with pytest.raises(NotOwned, match='There is an existing ConfigMap "a" that we do not own'):
        await client.apply(CONFIG_MAP, desired(v="6"), owner=OWNER)
