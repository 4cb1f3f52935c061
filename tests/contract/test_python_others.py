"""kr8s, synchronous and asynchronous, and lightkube."""

import gc
import os
import subprocess
import sys
import threading
from contextlib import ExitStack

import lightkube
import pytest
from lightkube import codecs
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType
from tests.harness import REPOSITORY, wait_for

pytestmark = [
    pytest.mark.contract,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
KSVC = {"template": {"spec": {"containers": [{"image": "hello"}]}}}


def test_kr8s(cluster, namespace):
    tour = [
        sys.executable,
        "-m",
        "tests.contract.tours.with_kr8s",
        str(cluster.kubeconfig),
        namespace,
    ]
    done = subprocess.run(
        tour, cwd=REPOSITORY, capture_output=True, text=True, timeout=110, check=False,
        env={**os.environ, "HOME": str(cluster.home)},
    )  # fmt: skip
    assert done.stdout == "done\n", done.stderr


# --- lightkube ----------------------------------------------------------------------------------------


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def light(cluster, namespace):
    settings = lightkube.KubeConfig.from_file(str(cluster.kubeconfig))
    with lightkube.Client(config=settings, namespace=namespace, field_manager="light") as opened:
        yield opened
    gc.collect()


def deployment(name, replicas=1):
    labels = {"app": name}
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels),
        spec=PodSpec(containers=[Container(name="c", image="nginx")]),
    )
    spec = DeploymentSpec(
        replicas=replicas, selector=LabelSelector(matchLabels=labels), template=template
    )
    return Deployment(metadata=ObjectMeta(name=name), spec=spec)


def test_lightkube_objects(light):
    made = light.create(ConfigMap(metadata=ObjectMeta(name="a"), data={"a": "b"}))
    assert made.metadata.managedFields[0].manager == "light"
    assert light.get(ConfigMap, "a").data == {"a": "b"}
    patched = light.patch(ConfigMap, "a", {"data": {"c": "d"}})
    assert patched.data == {"a": "b", "c": "d"}
    patched = light.patch(
        ConfigMap, "a", [{"op": "remove", "path": "/data/c"}], patch_type=PatchType.JSON
    )
    patched = light.patch(ConfigMap, "a", {"data": {"a": None}}, patch_type=PatchType.MERGE)
    assert not patched.data
    made.data = {"x": "y"}
    with pytest.raises(ApiError) as conflict:
        light.replace(made)
    assert conflict.value.status.code == 409
    made.metadata.resourceVersion = None
    assert light.replace(made).data == {"x": "y"}
    light.set(ConfigMap, "a", labels={"l": "1"}, annotations={"n": "2"}) if hasattr(
        light, "set"
    ) else None
    assert {item.metadata.name for item in light.list(ConfigMap)} >= {"a", "kube-root-ca.crt"}
    light.delete(ConfigMap, "a")
    with pytest.raises(ApiError) as missing:
        light.get(ConfigMap, "a")
    assert missing.value.status.reason == "NotFound"


def test_lightkube_apply(light, cluster, namespace, stack):
    applied = light.apply(ConfigMap(metadata=ObjectMeta(name="s"), data={"x": "1", "y": "1"}))
    first = applied.metadata.resourceVersion
    again = light.apply(ConfigMap(metadata=ObjectMeta(name="s"), data={"x": "1", "y": "1"}))
    assert again.metadata.resourceVersion == first
    assert light.apply(ConfigMap(metadata=ObjectMeta(name="s"), data={"x": "1"})).data == {"x": "1"}
    settings = lightkube.KubeConfig.from_file(str(cluster.kubeconfig))
    other = stack.enter_context(
        lightkube.Client(config=settings, namespace=namespace, field_manager="other")
    )
    with pytest.raises(ApiError) as conflict:
        other.apply(ConfigMap(metadata=ObjectMeta(name="s"), data={"x": "2"}))
    assert conflict.value.status.code == 409
    assert conflict.value.status.details.causes[0].field == ".data.x"
    taken = other.apply(ConfigMap(metadata=ObjectMeta(name="s"), data={"x": "2"}), force=True)
    assert taken.data == {"x": "2"}
    web = light.apply(deployment("web", replicas=2))
    assert web.spec.template.spec.containers[0].terminationMessagePath == "/dev/termination-log"
    # The controller's annotation counts as a change of a Deployment, as in Kubernetes.
    note = "deployment.kubernetes.io/revision"
    wait_for(
        lambda: note in (light.get(Deployment, "web").metadata.annotations or {}), "a revision"
    )
    settled = light.get(Deployment, "web").metadata.generation
    assert light.apply(deployment("web", replicas=2)).metadata.generation == settled
    assert light.apply(deployment("web", replicas=0)).metadata.generation == settled + 1


def test_lightkube_waits_scales_and_watches(light):
    light.create(deployment("d", replicas=1))
    light.wait(Deployment, "d", for_conditions=["Available"])
    scaled = light.replace(
        Deployment.Scale(metadata=ObjectMeta(name="d"), spec=ScaleSpec(replicas=3)), "d"
    )
    assert scaled.spec.replicas == 3
    wait_for(lambda: light.get(Deployment, "d").status.readyReplicas == 3, "three replicas")
    assert len(list(light.list(Pod, labels={"app": "d"}))) == 3
    status = light.get(Deployment.Status, "d")
    assert status.status.replicas == 3
    version = light.get(Deployment, "d").metadata.resourceVersion
    threading.Timer(0.2, lambda: light.delete(Deployment, "d")).start()
    for kind, item in light.watch(Deployment, resource_version=version, server_timeout=20):
        if kind == "DELETED":
            assert item.metadata.name == "d"
            break
    wait_for(lambda: not list(light.list(Pod, labels={"app": "d"})), "collected")


def test_lightkube_generic_resources(light):
    service = create_namespaced_resource("serving.knative.dev", "v1", "Service", "services")
    made = light.create(service(metadata=ObjectMeta(name="k"), spec=KSVC))
    assert made.metadata.generation == 1
    light.wait(service, "k", for_conditions=["Ready"])
    applied = light.apply(service(metadata=ObjectMeta(name="k"), spec=KSVC), force=True)
    assert applied.metadata.generation == 1
    assert light.get(service, "k").status["url"].startswith("http://k.")
    light.delete(service, "k")
    for item in codecs.load_all_yaml("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n"):
        assert light.create(item).metadata.name == "y"


async def test_lightkube_asynchronous(cluster, namespace):
    settings = lightkube.KubeConfig.from_file(str(cluster.kubeconfig))
    async with lightkube.AsyncClient(config=settings, namespace=namespace) as light:
        await light.create(ConfigMap(metadata=ObjectMeta(name="a")))
        names = [item.metadata.name async for item in light.list(ConfigMap)]
        assert names == ["a", "kube-root-ca.crt"]
        await light.delete(ConfigMap, "a")
