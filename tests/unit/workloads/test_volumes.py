"""Claims and volumes under the real API; the test plays the provisioner of the node."""

import msgspec
from tests.unit.workloads.world import World, replace

from knarr.meta.objects import Key, ObjectMeta
from knarr.node.provisioner import make_volume
from knarr.resources.core.container import Container
from knarr.resources.core.event import EVENT
from knarr.resources.core.persistentvolume import PERSISTENT_VOLUME, PersistentVolume
from knarr.resources.core.persistentvolumeclaim import (
    PERSISTENT_VOLUME_CLAIM,
    PersistentVolumeClaim,
)
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.volume import PersistentVolumeClaimVolumeSource, Volume
from knarr.resources.storage.storageclass import STORAGE_CLASS, StorageClass

KEY = Key("ns", "data")
LOCAL = "knarr.dev/local"


def claim(name="data", storage="1Gi", modes=("ReadWriteOnce",), **spec):
    document = {
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {
            "accessModes": list(modes),
            "resources": {"requests": {"storage": storage}},
            **spec,
        },
    }
    return msgspec.convert(document, PersistentVolumeClaim)


def volume(name, storage="1Gi", modes=("ReadWriteOnce",), policy="Retain", **spec):
    term = {"matchExpressions": [{"key": "x", "operator": "Exists"}]}
    document = {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": storage},
            "accessModes": list(modes),
            "local": {"path": f"/data/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            "persistentVolumeReclaimPolicy": policy,
            **spec,
        },
    }
    return msgspec.convert(document, PersistentVolume)


def pod_with(claim_name, name="p", **spec):
    mounted = PersistentVolumeClaimVolumeSource(claim_name=claim_name)
    return Pod(
        metadata=ObjectMeta(name=name, namespace="ns"),
        spec=PodSpec(
            containers=(Container(name="c", image="i"),),
            volumes=(Volume(name="v", persistent_volume_claim=mounted),),
            **spec,
        ),
    )


async def make_class(world, name="local", **fields):
    subject = StorageClass(metadata=ObjectMeta(name=name), provisioner=LOCAL, **fields)
    created = await world.client.create(STORAGE_CLASS, subject)
    await world.settle()
    return created


async def make_claim(world, subject):
    await world.client.create(PERSISTENT_VOLUME_CLAIM, subject)
    await world.settle()
    return await get_claim(world, subject.metadata.name)


async def get_claim(world, name="data"):
    return await world.client.get(PERSISTENT_VOLUME_CLAIM, Key("ns", name))


async def get_volume(world, name):
    return await world.client.get(PERSISTENT_VOLUME, Key("", name))


async def provision(world, subject, storage_class, tmp_path):
    made = make_volume(subject, storage_class, tmp_path / f"pvc-{subject.metadata.uid}", "node")
    await world.client.create(PERSISTENT_VOLUME, made)
    await world.settle()
    return made.metadata.name


async def reasons(world):
    return {event.reason for event in await world.client.list(EVENT, "ns")}


def test_a_claim_is_provisioned_and_bound(fake_time, tmp_path):
    async def story():
        async with World() as world:
            storage_class = await make_class(world)
            waiting = await make_claim(world, claim(storageClassName="local"))
            assert waiting.status.phase == "Pending"
            annotation = waiting.metadata.annotation("volume.kubernetes.io/storage-provisioner")
            assert annotation == LOCAL
            assert "ExternalProvisioning" in await reasons(world)
            name = await provision(world, waiting, storage_class, tmp_path)
            bound = await get_claim(world)
            assert (bound.status.phase, bound.spec.volume_name) == ("Bound", name)
            assert bound.status.capacity == {"storage": "1Gi"}
            assert bound.status.access_modes == ("ReadWriteOnce",)
            assert bound.metadata.annotation("pv.kubernetes.io/bind-completed") == "yes"
            assert (await get_volume(world, name)).status.phase == "Bound"
            assert await world.again() == []
            assert world.errors() == 0

    fake_time(story())


def test_the_smallest_volume_that_fits_is_taken(fake_time):
    async def story():
        async with World() as world:
            for name, size in (("big", "10Gi"), ("fits", "2Gi"), ("small", "500Mi")):
                await world.client.create(PERSISTENT_VOLUME, volume(name, size))
            await world.client.create(
                PERSISTENT_VOLUME, volume("other", "2Gi", storageClassName="x")
            )
            await world.settle()
            assert (await get_volume(world, "fits")).status.phase == "Available"
            bound = await make_claim(world, claim(storageClassName=""))
            assert bound.spec.volume_name == "fits"
            assert bound.status.capacity == {"storage": "2Gi"}
            second = await make_claim(world, claim("second", storageClassName=""))
            assert second.spec.volume_name == "big"
            third = await make_claim(world, claim("third", storageClassName=""))
            assert third.status.phase == "Pending"
            assert "FailedBinding" in await reasons(world)
            await world.client.create(PERSISTENT_VOLUME, volume("late", "1Gi"))
            await world.settle()
            assert (await get_claim(world, "third")).spec.volume_name == "late"

    fake_time(story())


def test_a_claim_may_name_its_volume(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(PERSISTENT_VOLUME, volume("mine"))
            bound = await make_claim(world, claim(volumeName="mine", storageClassName=""))
            assert bound.status.phase == "Bound"
            late = await make_claim(world, claim("late", volumeName="mine", storageClassName=""))
            assert late.status.phase == "Pending"

    fake_time(story())


def test_released_volumes_are_kept_or_left_to_the_provisioner(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(PERSISTENT_VOLUME, volume("kept"))
            await make_claim(world, claim(storageClassName=""))
            await world.client.delete(PERSISTENT_VOLUME_CLAIM, KEY)
            await world.settle()
            released = await get_volume(world, "kept")
            assert released.status.phase == "Released"
            again = await make_claim(world, claim(storageClassName=""))
            assert again.status.phase == "Pending", "a released volume is nobody else's"
            await world.client.delete(PERSISTENT_VOLUME, released.key)
            await world.settle()
            assert not list(await world.client.list(PERSISTENT_VOLUME))

    fake_time(story())


def test_what_is_used_does_not_go(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.client.create(PERSISTENT_VOLUME, volume("pv", nodeAffinity=ANYWHERE))
            await make_claim(world, claim(storageClassName=""))
            await world.client.create(POD, pod_with("data"))
            await world.settle()
            await world.run_pods()
            assert (await world.pods())[0].spec.node_name == "node"
            await world.client.delete(PERSISTENT_VOLUME, Key("", "pv"))
            await world.client.delete(PERSISTENT_VOLUME_CLAIM, KEY)
            await world.settle()
            assert (await get_claim(world)).deleting
            assert (await get_volume(world, "pv")).status.phase == "Bound"
            await world.client.delete(POD, Key("ns", "p"), grace_s=0)
            await world.settle()
            assert not list(await world.client.list(PERSISTENT_VOLUME_CLAIM, "ns"))
            assert not list(await world.client.list(PERSISTENT_VOLUME))

    fake_time(story())


ANYWHERE = {
    "required": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "absent", "operator": "DoesNotExist"}]}]
    }
}


def test_pods_wait_for_their_claims(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await world.client.create(POD, pod_with("data"))
            await world.settle()
            assert await why(world) == (
                '0/1 nodes are available: persistentvolumeclaim "data" not found.'
            )
            await make_claim(world, claim(storageClassName=""))
            assert await why(world) == (
                "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
            )
            await world.client.create(PERSISTENT_VOLUME, volume("far"))
            await world.settle()
            assert await why(world) == (
                "0/1 nodes are available: 1 node(s) had volume node affinity conflict."
            )

    fake_time(story())


async def why(world):
    found = (await world.pods())[0]
    return next(item.message for item in found.status.conditions if item.type == "PodScheduled")


def test_binding_on_first_use(fake_time, tmp_path):
    async def story():
        async with World() as world:
            await world.add_node()
            late = await make_class(world, volume_binding_mode="WaitForFirstConsumer")
            waiting = await make_claim(world, claim(storageClassName="local"))
            assert waiting.metadata.annotations is None
            assert "WaitForFirstConsumer" in await reasons(world)
            await world.client.create(POD, pod_with("data"))
            await world.settle()
            asked = await get_claim(world)
            assert asked.metadata.annotation("volume.kubernetes.io/storage-provisioner") == LOCAL
            await provision(world, asked, late, tmp_path)
            assert (await get_claim(world)).status.phase == "Bound"
            assert (await world.pods())[0].spec.node_name == "node"

    fake_time(story())


def test_one_pod_at_a_time(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            modes = ("ReadWriteOncePod",)
            await world.client.create(
                PERSISTENT_VOLUME, volume("pv", modes=modes, nodeAffinity=ANYWHERE)
            )
            await make_claim(world, claim(modes=modes, storageClassName=""))
            await world.client.create(POD, pod_with("data", "a"))
            await world.settle()
            await world.client.create(POD, pod_with("data", "b"))
            await world.settle()
            nodes = {item.metadata.name: item.spec.node_name for item in await world.pods()}
            assert nodes == {"a": "node", "b": ""}

    fake_time(story())


def test_a_claim_can_grow_where_its_class_allows_it(fake_time, tmp_path):
    async def story():
        async with World() as world:
            storage_class = await make_class(world, allow_volume_expansion=True)
            waiting = await make_claim(world, claim(storageClassName="local"))
            name = await provision(world, waiting, storage_class, tmp_path)
            more = {"spec": {"resources": {"requests": {"storage": "5Gi"}}}}
            await world.client.patch(PERSISTENT_VOLUME_CLAIM, KEY, more)
            await world.settle()
            assert (await get_claim(world)).status.capacity == {"storage": "5Gi"}
            assert (await get_volume(world, name)).spec.capacity == {"storage": "5Gi"}

    fake_time(story())


def test_a_lost_volume_is_told(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(PERSISTENT_VOLUME, volume("pv"))
            await make_claim(world, claim(storageClassName=""))
            lost = await get_volume(world, "pv")
            bare = replace(lost, metadata=replace(lost.metadata, finalizers=None))
            await world.client.update(PERSISTENT_VOLUME, bare)
            await world.client.delete(PERSISTENT_VOLUME, lost.key)
            await world.settle()
            assert (await get_claim(world)).status.phase == "Lost"
            assert "ClaimLost" in await reasons(world)

    fake_time(story())
