"""Owners, namespaces and deletion for kinds that come and go."""

import json

import pytest
from tests.unit.apiserver_definitions.samples import GROUP, NAME, definition, version_of
from tests.unit.workloads.world import World

from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta, OwnerReference, Resource
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.namespace import NAMESPACE
from knarr.resources.kind import Kind
from knarr.workloads.customresources import Definition, slim
from knarr.workloads.customresources.definition import (
    DefinitionSpec,
    DefinitionStatus,
    Version,
    kind_of,
)
from knarr.workloads.garbagecollector.customkinds import opened, ticket

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TAB = Kind(group=GROUP, version="v1", kind="CronTab", plural="crontabs", model=Resource)
WIDE = Kind(
    group=GROUP, version="v1", kind="Wide", plural="wides", model=Resource, namespaced=False
)


async def define(world, document):
    path = DEFINITIONS
    await world.client.transport.request("POST", path, body=json.dumps(document).encode())
    await world.settle()


async def make(world, kind, name, *owners, **metadata):
    document = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            **({"namespace": "ns"} if kind.namespaced else {}),
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/v9", "kind": owner.kind, "name": owner.metadata.name,
                    "uid": owner.metadata.uid, "blockOwnerDeletion": True,
                }
                for owner in owners
            ],
            **metadata,
        },
        "spec": {"cron": "*"},
    }  # fmt: skip
    body = await world.client.transport.request(
        "POST", kind.collection_path("ns"), body=json.dumps(document).encode()
    )
    return world.client.codec.decode(kind, body)


async def make_map(world, name, *owners):
    references = tuple(
        OwnerReference(
            api_version=owner.api_version,
            kind=owner.kind,
            name=owner.metadata.name,
            uid=owner.metadata.uid,
            block_owner_deletion=True,
        )
        for owner in owners
    )
    metadata = ObjectMeta(name=name, namespace="ns", owner_references=references or None)
    return await world.client.create(CONFIG_MAP, ConfigMap(metadata=metadata))


async def present(world, kind, name):
    try:
        return await world.client.get(kind, Key("ns" if kind.namespaced else "", name))
    except NotFound:
        return None


def test_owners_and_dependents_of_custom_kinds(fake_time):
    async def story():
        async with World(definitions=True) as world:
            await define(world, definition())
            root = await make(world, TAB, "root")
            middle = await make(world, TAB, "middle", root)
            await make_map(world, "leaf", middle)
            below = await make_map(world, "map")
            await world.settle()
            await world.client.delete(TAB, root.key)
            await world.settle()
            assert await present(world, TAB, "middle") is None
            assert await present(world, CONFIG_MAP, "leaf") is None
            assert await present(world, CONFIG_MAP, "map") == below
            assert world.errors() == 0

    fake_time(story())


def test_cluster_scoped_owners(fake_time):
    async def story():
        async with World(definitions=True) as world:
            document = definition("Wide", "wides")
            document["spec"]["scope"] = "Cluster"
            await define(world, document)
            root = await make(world, WIDE, "root")
            await make_map(world, "leaf", root)
            await world.settle()
            assert await present(world, CONFIG_MAP, "leaf")
            await world.client.delete(WIDE, root.key)
            await world.settle()
            assert await present(world, CONFIG_MAP, "leaf") is None

    fake_time(story())


def test_foreground_and_orphan(fake_time):
    async def story():
        async with World(definitions=True) as world:
            await define(world, definition())
            root = await make(world, TAB, "root")
            held = await make(world, TAB, "held", root, finalizers=["example.com/hold"])
            await make_map(world, "leaf", root)
            await world.settle()
            await world.client.delete(TAB, root.key, propagation="Foreground")
            await world.settle()
            assert await present(world, CONFIG_MAP, "leaf") is None
            assert (await present(world, TAB, "root")).metadata.finalizers == (
                "foregroundDeletion",
            )
            await world.client.patch(TAB, held.key, {"metadata": {"finalizers": None}})
            await world.settle()
            assert await present(world, TAB, "root") is None
            other = await make(world, TAB, "other")
            await make_map(world, "left", other)
            await world.settle()
            await world.client.delete(TAB, other.key, propagation="Orphan")
            await world.settle()
            assert await present(world, TAB, "other") is None
            assert (await present(world, CONFIG_MAP, "left")).metadata.owner_references is None

    fake_time(story())


def test_a_definition_takes_its_objects_and_their_dependents_along(fake_time):
    async def story():
        async with World(definitions=True) as world:
            await define(world, definition())
            root = await make(world, TAB, "root")
            await make_map(world, "leaf", root)
            await world.settle()
            followed = len(world.informers.informers)
            await world.client.transport.request("DELETE", f"{DEFINITIONS}/{NAME}")
            await world.settle()
            assert await present(world, CONFIG_MAP, "leaf") is None
            assert len(world.informers.informers) == followed - 1
            assert world.errors() == 0

    fake_time(story())


def test_what_waits_for_a_kind_is_judged_when_it_comes(fake_time):
    async def story():
        async with World(definitions=True) as world:
            ghost = Resource(
                api_version=f"{GROUP}/v1", kind="CronTab", metadata=ObjectMeta(name="x", uid="none")
            )
            await make_map(world, "leaf", ghost)
            await world.settle()
            assert await present(world, CONFIG_MAP, "leaf")
            await define(world, definition())
            assert await present(world, CONFIG_MAP, "leaf") is None

    fake_time(story())


def test_a_version_that_is_not_served_any_more_dooms_nothing(fake_time):
    async def story():
        async with World(definitions=True) as world:
            document = definition()
            document["spec"]["versions"].append(
                {**version_of(document), "name": "v2", "storage": False}
            )
            await define(world, document)
            root = await make(world, TAB, "root")
            await make_map(world, "leaf", root)
            await world.settle()
            for served in ([False, True], [False, False], [True, True]):
                patch = [
                    {"op": "replace", "path": f"/spec/versions/{index}/served", "value": value}
                    for index, value in enumerate(served)
                ]
                await world.client.transport.request(
                    "PATCH", f"{DEFINITIONS}/{NAME}", body=json.dumps(patch).encode(),
                    content_type="application/json-patch+json",
                )  # fmt: skip
                await world.settle()
                assert await present(world, CONFIG_MAP, "leaf")
            await world.client.delete(TAB, root.key)
            await world.settle()
            assert await present(world, CONFIG_MAP, "leaf") is None

    fake_time(story())


def test_a_namespace_takes_custom_objects_along(fake_time):
    async def story():
        async with World(definitions=True) as world:
            await define(world, definition())
            await make(world, TAB, "free")
            held = await make(world, TAB, "held", finalizers=["example.com/hold"])
            await world.settle()
            await world.client.delete(NAMESPACE, Key("", "ns"))
            await world.settle()
            namespace = await world.client.get(NAMESPACE, Key("", "ns"))
            messages = [each.message for each in namespace.status.conditions]
            assert f"Some resources are remaining: {NAME} has 1 resource instances" in messages
            await world.client.patch(TAB, held.key, {"metadata": {"finalizers": None}})
            await world.settle()
            with pytest.raises(NotFound):
                await world.client.get(NAMESPACE, Key("", "ns"))

    fake_time(story())


def test_little_is_kept(fake_time):
    async def story():
        async with World(definitions=True) as world:
            await define(world, definition())
            await make(world, TAB, "a", annotations={"big": "x" * 10_000})
            await world.settle()
            informers = {each.kind.plural: each for each in world.informers.informers}
            assert informers["crontabs"].statistics().size_bytes < 500
            definitions = informers["customresourcedefinitions"].statistics()
            assert definitions.size_bytes < 2_000 * definitions.objects

    fake_time(story())


def test_tickets():
    key = Key("ns", "name")
    assert opened(ticket("as.example.com", key)) == ("as.example.com", key)
    assert opened(ticket("as.example.com", Key("", "n"))) == ("as.example.com", Key("", "n"))
    assert opened(key) == ("", key)


def test_the_kind_of_a_definition():
    assert kind_of(Definition()) is None
    versions = (Version(name="v1", served=True), Version(name="v2", served=True, storage=True))
    spec = DefinitionSpec(group=GROUP, scope="Cluster", versions=versions)
    unserved = Definition(spec=spec, status=DefinitionStatus())
    assert kind_of(slim(unserved)) is None
