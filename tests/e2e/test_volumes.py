"""Storage that outlives Pods, containers, revisions and the instance itself."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import REPOSITORY, Instance, require_root, start_instance, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance that may go down and come back."""
    require_root()
    data_dir = Path("/tmp") / f"knarr-vol-{os.getpid()}"
    running = start_instance(data_dir, tmp_path_factory.mktemp("home"), "10.215.0.0/16")
    try:
        yield running
    finally:
        running.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture(scope="module")
def image(own: Instance) -> str:
    built = own.knarr("build", str(REPOSITORY / "tests/e2e/apps/probe"), "-o", "json")
    return str(json.loads(built)["reference"])


def claim(own: Instance, name: str) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Mi"}},
        },
    }
    own.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def pod(name: str, image: str, script: str, claim_name: str, **spec: object) -> str:
    mounts = [
        {"name": "v", "mountPath": "/data"},
        {"name": "v", "mountPath": "/sub", "subPath": "deep/er"},
    ]
    container = {
        "name": "c",
        "image": image,
        "command": ["sh", "-c", script],
        "volumeMounts": mounts,
    }
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume], **spec},
    }
    return json.dumps(document)


def run(own: Instance, name: str, image: str, script: str, claim_name: str, **spec: object) -> str:
    """Run a Pod to its end; what it said."""
    own.kubectl("apply", "-f", "-", stdin=pod(name, image, script, claim_name, **spec))
    own.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    said = own.kubectl("logs", name)
    own.kubectl("delete", "pod", name)
    return said


def directories(own: Instance) -> list[str]:
    root = own.data_dir / "node" / "persistent-volumes"
    return sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []


def test_files_outlive_pods_and_the_instance(own: Instance, image: str) -> None:
    claim(own, "kept")
    written = run(
        own,
        "writer",
        image,
        "id -u; echo one > /data/file; echo two > /sub/file; ls -l /data",
        "kept",
    )
    assert "65532" in written
    group = {"securityContext": {"runAsUser": 1234, "fsGroup": 2000}}
    read = run(
        own,
        "reader",
        image,
        "cat /data/file /sub/file; echo three >> /data/file; id",
        "kept",
        **group,
    )
    assert read.splitlines()[:2] == ["one", "two"]
    own.knarr("down")
    assert len(directories(own)) == 1
    own.knarr(
        "up", "--detach", "--http-port", str(own.http_port), "--pod-cidr", "10.215.0.0/16",
    )  # fmt: skip
    again = run(own, "again", image, "cat /data/file; mount | grep ' /data '", "kept")
    assert again.splitlines()[:2] == ["one", "three"]
    assert "nosuid" in again
    own.kubectl("delete", "pvc", "kept")
    wait_for(lambda: directories(own) == [], "the directory is removed")
    wait_for(lambda: not own.kubectl("get", "pv", "-o", "name"), "the volume is removed")


def test_a_claim_in_use_stays_until_its_pod_ends(own: Instance, image: str) -> None:
    claim(own, "used")
    own.kubectl("apply", "-f", "-", stdin=pod("user", image, "echo x > /data/f; sleep 600", "used"))
    own.kubectl("wait", "pod/user", "--for=condition=Ready", "--timeout=60s")
    own.kubectl("delete", "pvc", "used", "--wait=false")
    assert "Terminating" in own.kubectl("get", "pvc", "used")
    assert len(directories(own)) == 1
    own.kubectl("delete", "pod", "user", "--now")
    wait_for(lambda: directories(own) == [], "the directory is removed")


def test_read_only_claims(own: Instance, image: str) -> None:
    claim(own, "ro")
    run(own, "fill", image, "echo x > /data/f; mkdir -p /data/deep/er", "ro")
    document = json.loads(pod("look", image, "cat /data/f; echo y > /data/f || echo refused", "ro"))
    document["spec"]["volumes"][0]["persistentVolumeClaim"]["readOnly"] = True
    own.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    own.kubectl("wait", "pod/look", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert own.kubectl("logs", "look").splitlines()[0] == "x"
    assert "refused" in own.kubectl("logs", "look")


def test_a_knative_service_keeps_its_files(own: Instance, image: str) -> None:
    claim(own, "service")
    flags = {
        "kubernetes.podspec-persistent-volume-claim": "enabled",
        "kubernetes.podspec-persistent-volume-write": "enabled",
    }
    own.kubectl(
        "-n", "knative-serving", "patch", "configmap", "config-features", "--type=merge",
        "-p", json.dumps({"data": flags}),
    )  # fmt: skip
    document = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "stateful"},
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"image": image, "volumeMounts": [{"name": "v", "mountPath": "/data"}]}
                    ],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "service"}}],
                }
            }
        },
    }
    own.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    own.wait_ready("stateful")
    status, _, _ = own.request("stateful.default.localhost")
    assert status == 200
    pods = json.loads(own.kubectl("get", "pods", "-o", "json"))["items"]
    mine = [
        item for item in pods
        if item["metadata"].get("labels", {}).get("serving.knative.dev/service") == "stateful"
    ]  # fmt: skip
    volume = mine[0]["spec"]["volumes"][0]
    assert volume["persistentVolumeClaim"]["claimName"] == "service"
