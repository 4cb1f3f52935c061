"""What a Pod gets from its ServiceAccount."""

import random

import msgspec
import pytest

from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.core.tokenvolume import TOKEN_DIRECTORY, admit_spec, canonical_spec


def spec(**fields) -> PodSpec:
    containers = [{"name": "a"}, {"name": "b"}]
    init = [{"name": "i"}]
    return msgspec.convert({"containers": containers, "initContainers": init, **fields}, PodSpec)


def admit(subject: PodSpec, **account) -> dict:
    found = admit_spec(subject, msgspec.convert(account, ServiceAccount), random.Random(1))
    return msgspec.json.decode(msgspec.json.encode(found))


def test_every_container_gets_the_volume():
    admitted = admit(spec(volumes=[{"name": "own", "emptyDir": {}}]))
    own, volume = admitted["volumes"]
    assert own["name"] == "own"
    assert volume["name"].startswith("kube-api-access-")
    assert len(volume["name"]) == len("kube-api-access-") + 5
    assert volume["projected"] == {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ],
    }  # fmt: skip
    mount = {"name": volume["name"], "readOnly": True, "mountPath": TOKEN_DIRECTORY}
    for container in (*admitted["containers"], *admitted["initContainers"]):
        assert container["volumeMounts"] == [mount]


@pytest.mark.parametrize(
    ("pod", "account", "expected"),
    [
        (None, None, True),
        (None, False, False),
        (True, False, True),
        (False, True, False),
        (False, None, False),
    ],
)
def test_the_pods_word_counts_more_than_its_accounts(pod, account, expected):
    admitted = admit(spec(automountServiceAccountToken=pod), automountServiceAccountToken=account)
    assert bool(admitted.get("volumes")) is expected


def test_a_mount_at_that_place_is_left_alone():
    mounts = [{"name": "mine", "mountPath": TOKEN_DIRECTORY}]
    containers = [{"name": "a", "volumeMounts": mounts}]
    admitted = admit(spec(containers=containers, initContainers=[]))
    assert admitted["containers"][0]["volumeMounts"] == mounts
    assert "volumes" not in admitted


def test_a_volume_of_that_name_is_used():
    admitted = admit(spec(volumes=[{"name": "kube-api-access-own", "emptyDir": {}}]))
    assert [volume["name"] for volume in admitted["volumes"]] == ["kube-api-access-own"]
    assert admitted["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access-own"
    assert admit(msgspec.convert(admitted, PodSpec)) == admitted


def test_pull_secrets_come_from_the_account_unless_the_pod_has_some():
    assert admit(spec(), imagePullSecrets=[{"name": "s"}])["imagePullSecrets"] == [{"name": "s"}]
    own = spec(imagePullSecrets=[{"name": "own"}])
    assert admit(own, imagePullSecrets=[{"name": "s"}])["imagePullSecrets"] == [{"name": "own"}]


def test_the_name_inside_is_the_same_for_every_pod():
    def canonical(seed: int) -> PodSpec:
        return canonical_spec(admit_spec(spec(), ServiceAccount(), random.Random(seed)))

    assert canonical(1) == canonical(2)
    assert canonical(1).volumes[0].name == "kube-api-access"
    assert canonical(1).init_containers[0].volume_mounts[0].name == "kube-api-access"
    assert canonical_spec(spec()) == spec()
    both = spec(volumes=[{"name": "kube-api-access"}, {"name": "kube-api-access-x"}])
    assert canonical_spec(both) == both
