"""StatefulSets under the real API; the test plays the node."""

import pytest
from tests.unit.workloads.world import SELECTOR, World, replace, template

from knarr.meta.errors import Invalid
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apps.controllerrevision import CONTROLLER_REVISION
from knarr.resources.apps.statefulset import (
    STATEFUL_SET,
    RollingUpdateStatefulSet,
    StatefulSet,
    StatefulSetOrdinals,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from knarr.resources.core.container import VolumeMount
from knarr.resources.core.persistentvolumeclaim import (
    PERSISTENT_VOLUME_CLAIM,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    VolumeResourceRequirements,
)
from knarr.resources.core.pod import POD

KEY = Key("ns", "web")


async def make(world, **spec):
    subject = StatefulSet(
        metadata=ObjectMeta(name="web", namespace="ns"),
        spec=StatefulSetSpec(
            **{"selector": SELECTOR, "template": template(), "service_name": "web", **spec}
        ),
    )
    await world.client.create(STATEFUL_SET, subject)
    await world.settle()


async def patch(world, **spec):
    await world.client.patch(STATEFUL_SET, KEY, {"spec": spec})
    await world.settle()


async def set_image(world, image):
    await patch(world, template={"spec": {"containers": [{"name": "c", "image": image}]}})


async def get(world):
    return await world.client.get(STATEFUL_SET, KEY)


async def images(world):
    return {
        pod.metadata.name: pod.spec.containers[0].image
        for pod in await world.pods()
        if not pod.deleting
    }


def names(pods):
    return sorted(pod.metadata.name for pod in pods)


def test_pods_come_one_after_the_other(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world, replicas=3)
            assert names(await world.pods()) == ["web-0"]
            pod = (await world.pods())[0]
            assert (pod.spec.hostname, pod.spec.subdomain) == ("web-0", "web")
            assert pod.metadata.labels["statefulset.kubernetes.io/pod-name"] == "web-0"
            assert pod.metadata.labels["apps.kubernetes.io/pod-index"] == "0"
            await world.report(pod)
            await world.settle()
            assert names(await world.pods()) == ["web-0", "web-1"]
            await world.run_pods()
            status = (await get(world)).status
            assert (status.replicas, status.ready_replicas) == (3, 3)
            assert (status.current_replicas, status.updated_replicas) == (3, 3)
            assert status.current_revision == status.update_revision != ""
            assert await world.again() == []
            assert world.errors() == 0

    fake_time(story())


def test_parallel_sets_do_not_wait(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            ordinals = StatefulSetOrdinals(start=5)
            await make(world, replicas=3, pod_management_policy="Parallel", ordinals=ordinals)
            assert names(await world.pods()) == ["web-5", "web-6", "web-7"]
            await patch(world, replicas=0)
            assert all(pod.deleting for pod in await world.pods())

    fake_time(story())


def test_the_highest_goes_first(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world, replicas=3)
            await world.run_pods()
            await world.client.scale(STATEFUL_SET, KEY, 1)
            await world.settle()
            doomed = [pod for pod in await world.pods() if pod.deleting]
            assert names(doomed) == ["web-2"], "one at a time"
            await world.run_pods()
            assert names(await world.pods()) == ["web-0"]

    fake_time(story())


def test_a_pod_that_is_lost_comes_back_under_its_name(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world, replicas=2)
            await world.run_pods()
            old = await world.client.get(POD, Key("ns", "web-0"))
            await world.client.delete(POD, old.key, grace_s=0)
            await world.settle()
            new = await world.client.get(POD, Key("ns", "web-0"))
            assert new.metadata.uid != old.metadata.uid
            await world.report(new, phase="Failed", ready=False)
            await world.settle()
            await world.run_pods()
            again = await world.client.get(POD, Key("ns", "web-0"))
            assert again.metadata.uid != new.metadata.uid

    fake_time(story())


def test_an_update_goes_from_the_top(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world, replicas=3)
            await world.run_pods()
            before = (await get(world)).status.current_revision
            await set_image(world, "two")
            assert names(pod for pod in await world.pods() if pod.deleting) == ["web-2"]
            status = (await get(world)).status
            assert status.current_revision == before != status.update_revision
            await world.client.delete(POD, Key("ns", "web-2"), grace_s=0)
            await world.settle()
            assert await images(world) == {"web-0": "one", "web-1": "one", "web-2": "two"}
            assert not [pod for pod in await world.pods() if pod.deleting], "web-2 is not ready"
            await world.run_pods()
            assert set((await images(world)).values()) == {"two"}
            status = (await get(world)).status
            assert status.current_revision == status.update_revision != before
            assert status.updated_replicas == 3
            assert await world.again() == []

    fake_time(story())


def test_a_partition_keeps_the_lower_ones(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            strategy = StatefulSetUpdateStrategy(
                type="RollingUpdate", rolling_update=RollingUpdateStatefulSet(partition=1)
            )
            await make(world, replicas=2, update_strategy=strategy)
            await world.run_pods()
            await set_image(world, "two")
            await world.run_pods()
            assert await images(world) == {"web-0": "one", "web-1": "two"}
            await world.client.delete(POD, Key("ns", "web-0"), grace_s=0)
            await world.settle()
            await world.run_pods()
            assert await images(world) == {"web-0": "one", "web-1": "two"}, "by the old revision"
            status = (await get(world)).status
            assert (status.current_replicas, status.updated_replicas) == (1, 1)
            await patch(world, updateStrategy={"rollingUpdate": {"partition": 0}})
            await world.run_pods()
            assert set((await images(world)).values()) == {"two"}

    fake_time(story())


def test_updates_on_delete(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(
                world, replicas=1, update_strategy=StatefulSetUpdateStrategy(type="OnDelete")
            )
            await world.run_pods()
            await set_image(world, "two")
            await world.run_pods()
            assert await images(world) == {"web-0": "one"}
            await world.client.delete(POD, Key("ns", "web-0"), grace_s=0)
            await world.settle()
            assert await images(world) == {"web-0": "two"}

    fake_time(story())


def test_going_back_numbers_the_old_revision_anew(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await make(world, replicas=1, revision_history_limit=1)
            await world.run_pods()
            for image in ("two", "three", "one"):
                await set_image(world, image)
                await world.run_pods()
            revisions = sorted(
                await world.client.list(CONTROLLER_REVISION, "ns"), key=lambda one: one.revision
            )
            kept = [
                one.data["spec"]["template"]["spec"]["containers"][0]["image"] for one in revisions
            ]
            assert kept == ["three", "one"]
            assert revisions[-1].data["spec"]["template"]["$patch"] == "replace"
            assert (await get(world)).status.update_revision == revisions[-1].metadata.name

    fake_time(story())


def test_each_pod_has_its_claims_and_they_stay(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            claim = PersistentVolumeClaim(
                metadata=ObjectMeta(name="data"),
                spec=PersistentVolumeClaimSpec(
                    access_modes=("ReadWriteOnce",),
                    resources=VolumeResourceRequirements(requests={"storage": "1Gi"}),
                    storage_class_name="",
                ),
            )
            pods = template()
            mount = VolumeMount(name="data", mount_path="/data")
            container = replace(pods.spec.containers[0], volume_mounts=(mount,))
            pods = replace(pods, spec=replace(pods.spec, containers=(container,)))
            await make(world, replicas=1, template=pods, volume_claim_templates=(claim,))
            pod = await world.client.get(POD, Key("ns", "web-0"))
            volume = pod.spec.volumes[0]
            assert volume.persistent_volume_claim.claim_name == "data-web-0"
            found = await world.client.get(PERSISTENT_VOLUME_CLAIM, Key("ns", "data-web-0"))
            assert found.metadata.labels == {"app": "x"}
            assert not found.metadata.owner_references
            await patch(world, replicas=0)
            await world.run_pods()
            assert not await world.pods()
            assert list(await world.client.list(PERSISTENT_VOLUME_CLAIM, "ns"))

    fake_time(story())


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"serviceName": "other"}, "updates to statefulset spec for fields other than"),
        ({"podManagementPolicy": "Parallel"}, "updates to statefulset spec for fields other than"),
        ({"replicas": -1}, "must be greater than or equal to 0"),
        (
            {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}},
            'supported values: "Retain"',
        ),
        ({"updateStrategy": {"type": "Sometimes"}}, "must be 'RollingUpdate' or 'OnDelete'"),
    ],
)
def test_what_is_refused(fake_time, spec, text):
    async def story():
        async with World() as world:
            await make(world, replicas=1)
            with pytest.raises(Invalid) as caught:
                await world.client.patch(STATEFUL_SET, KEY, {"spec": spec})
            assert text in caught.value.message

    fake_time(story())
