"""Rules for PersistentVolumes, claims and classes."""

import msgspec
import pytest

from knarr.resources.catalog import kind_of
from knarr.resources.kind import Admission, UserInfo

USER = UserInfo(name="u")


def problems(api_version, kind_name, document, old=None):
    kind = kind_of(api_version, kind_name)
    assert kind is not None
    before = None
    if old is not None:
        before = msgspec.convert(old, kind.model)
        before = kind.default(before, Admission(operation="CREATE", user=USER))
    admission = Admission(operation="UPDATE" if old else "CREATE", user=USER, old=before)
    subject = kind.default(msgspec.convert(document, kind.model), admission)
    return {
        path: f"{error.message}: {error.details}" if error.details else error.message
        for error in kind.validate(subject, admission)
        for path in error.paths
    }


def volume(**spec):
    term = {"matchExpressions": [{"key": "k", "operator": "Exists"}]}
    return {
        "metadata": {"name": "pv"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/x"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            **spec,
        },
    }


def claim(storage="1Gi", **spec):
    return {
        "metadata": {"name": "c", "namespace": "ns"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
            **spec,
        },
    }


@pytest.mark.parametrize(
    ("spec", "path", "text"),
    [
        ({"accessModes": []}, "spec.accessModes", "at least 1 access mode is required"),
        ({"accessModes": ["X"]}, "spec.accessModes", "Unsupported value"),
        (
            {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            "spec.accessModes",
            "may not use ReadWriteOncePod with other access modes",
        ),
        ({"capacity": {}}, "spec.capacity", "Required value"),
        ({"capacity": {"cpu": "1"}}, "spec.capacity", 'supported values: "storage"'),
        ({"capacity": {"storage": "0"}}, "spec.capacity.storage", "must be greater than zero"),
        ({"local": None}, "spec", "must specify a volume type"),
        ({"local": {"path": ""}}, "spec.local.path", "Required value"),
        ({"local": {"path": "/a/../b"}}, "spec.local.path", "must not contain '..'"),
        ({"local": {"path": "a"}}, "spec.local.path", "must be an absolute path"),
        ({"nodeAffinity": None}, "spec.nodeAffinity", "Local volume requires node affinity"),
        ({"nodeAffinity": {}}, "spec.nodeAffinity.required", "must specify required node"),
        (
            {"nodeAffinity": {"required": {}}},
            "spec.nodeAffinity.required.nodeSelectorTerms",
            "must have at least one node selector term",
        ),
        (
            {"persistentVolumeReclaimPolicy": "Recycle"},
            "spec.persistentVolumeReclaimPolicy",
            'supported values: "Delete", "Retain"',
        ),
        ({"volumeMode": "Block"}, "spec.volumeMode", 'supported values: "Filesystem"'),
        ({"claimRef": {"name": "c"}}, "spec.claimRef", "named by namespace and name"),
    ],
)
def test_volumes(spec, path, text):
    assert text in problems("v1", "PersistentVolume", volume(**spec)).get(path, "")


def test_what_must_not_change_of_a_volume():
    assert problems("v1", "PersistentVolume", volume(), volume()) == {}
    moved = problems("v1", "PersistentVolume", volume(local={"path": "/y"}), volume())
    assert "spec.persistentvolumesource" in moved
    term = {"matchExpressions": [{"key": "other", "operator": "Exists"}]}
    elsewhere = {"required": {"nodeSelectorTerms": [term]}}
    assert "spec.nodeAffinity" in problems(
        "v1", "PersistentVolume", volume(nodeAffinity=elsewhere), volume()
    )


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (claim(accessModes=[]), "spec.accessModes"),
        (claim(resources={}), "spec.resources[storage]"),
        (claim("-1"), "spec.resources[storage]"),
        (claim(storageClassName="A_b"), "spec.storageClassName"),
        (claim(volumeMode="Block"), "spec.volumeMode"),
        (
            claim(selector={"matchExpressions": [{"key": "k", "operator": "Near"}]}),
            "spec.selector.matchExpressions[0].operator",
        ),
    ],
)
def test_claims(document, path):
    assert path in problems("v1", "PersistentVolumeClaim", document)


def test_what_may_change_of_a_claim():
    def changed(after, before):
        return problems("v1", "PersistentVolumeClaim", after, before)

    bound = claim(volumeName="pv", storageClassName="s") | {
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    }
    assert changed(bound, claim(storageClassName="s")) == {}, "binding"
    assert changed(claim("2Gi", volumeName="pv", storageClassName="s"), bound) == {}, "growing"
    assert "can not be less than" in str(
        changed(claim("500Mi", volumeName="pv", storageClassName="s"), bound)
    )
    assert "spec is immutable" in str(changed(claim("2Gi"), claim())), "not bound yet"
    assert "spec is immutable" in str(changed(claim(volumeName="pv", storageClassName="t"), bound))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"provisioner": ""}, "provisioner"),
        ({"provisioner": "a b"}, "provisioner"),
        ({"reclaimPolicy": "Recycle"}, "reclaimPolicy"),
        ({"volumeBindingMode": "Later"}, "volumeBindingMode"),
    ],
)
def test_classes(fields, path):
    document = {"metadata": {"name": "s"}, "provisioner": "x.dev/p", **fields}
    assert path in problems("storage.k8s.io/v1", "StorageClass", document)


def test_classes_do_not_change():
    before = {"metadata": {"name": "s"}, "provisioner": "x.dev/p"}
    after = {
        "metadata": {"name": "s"}, "provisioner": "x.dev/q", "parameters": {"a": "b"},
        "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer",
    }  # fmt: skip
    assert set(problems("storage.k8s.io/v1", "StorageClass", after, before)) == {
        "parameters", "provisioner", "reclaimPolicy", "volumeBindingMode",
    }  # fmt: skip
