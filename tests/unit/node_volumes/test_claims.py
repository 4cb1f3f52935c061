"""Which directory a claim leads to, and what the provisioner makes and removes."""

from pathlib import Path

import msgspec
import pytest

from knarr.node import persistent
from knarr.node.bundle import BadContainer
from knarr.node.claims import claim_directory, claim_version, volume_directory, volume_key
from knarr.node.provisioner import is_to_be_removed, is_wanted, make_volume
from knarr.resources.core.persistentvolume import (
    PERSISTENT_VOLUME,
    PersistentVolume,
    validate_persistent_volume,
)
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.resources.kind import Admission, UserInfo
from knarr.resources.storage.storageclass import StorageClass

ROOT = Path("/data/node/persistent-volumes")
WANTED = {"volume.kubernetes.io/storage-provisioner": "knarr.dev/local"}


def claim(phase="Bound", volume="pv", **metadata):
    document = {
        "metadata": {"name": "c", "namespace": "ns", "uid": "u", **metadata},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": volume,
            "storageClassName": "knarr-local",
        },
        "status": {"phase": phase},
    }
    return msgspec.convert(document, PersistentVolumeClaim)


def volume(path=f"{ROOT}/pv", uid="u", phase="Bound", policy="Delete", annotations=None):
    document = {
        "metadata": {"name": "pv", "annotations": annotations or {}},
        "spec": {
            "local": {"path": path},
            "claimRef": {"namespace": "ns", "name": "c", "uid": uid},
            "persistentVolumeReclaimPolicy": policy,
        },
        "status": {"phase": phase},
    }
    return msgspec.convert(document, PersistentVolume)


def test_a_bound_claim_leads_to_its_directory():
    assert claim_directory("c", claim(), volume(), ROOT) == ROOT / "pv"


@pytest.mark.parametrize(
    ("found", "bound_to", "message"),
    [
        (None, volume(), 'persistentvolumeclaim "c" not found'),
        (claim("Pending"), volume(), "is not bound yet"),
        (claim(), None, "has lost its volume"),
        (claim(), volume(uid="another"), "has lost its volume"),
        (claim(), volume(path="/etc"), "is not below"),
        (claim(), volume(path=f"{ROOT}/../../etc"), "is not below"),
        (claim(), volume(path=str(ROOT)), "is not below"),
    ],
)
def test_what_leads_nowhere_is_named(found, bound_to, message):
    with pytest.raises(BadContainer, match=message):
        claim_directory("c", found, bound_to, ROOT)


def test_paths_elsewhere_are_never_given_out():
    for path in ("", "/", "relative", f"{ROOT}x/y"):
        with pytest.raises(BadContainer):
            volume_directory(ROOT, path)


def test_a_claim_that_leads_elsewhere_has_another_version():
    versions = {
        claim_version(None),
        claim_version(claim()),
        claim_version(claim(volume="other")),
        claim_version(claim("Pending")),
        claim_version(claim(uid="v")),
    }
    assert len(versions) == 5
    assert volume_key(claim()) == ("", "pv")
    assert volume_key(claim(volume="")) is None


def test_what_the_provisioner_acts_on():
    assert is_wanted(claim("Pending", "", annotations=WANTED))
    assert not is_wanted(claim("Pending", ""))
    assert not is_wanted(claim("Bound", "pv", annotations=WANTED))
    assert not is_wanted(
        claim("Pending", "", annotations=WANTED, deletionTimestamp="2026-01-01T00:00:00Z")
    )
    ours = {"pv.kubernetes.io/provisioned-by": "knarr.dev/local"}
    assert is_to_be_removed(volume(phase="Released", annotations=ours))
    assert not is_to_be_removed(volume(phase="Released"))
    assert not is_to_be_removed(volume(phase="Bound", annotations=ours))
    assert not is_to_be_removed(volume(phase="Released", policy="Retain", annotations=ours))


def test_the_volume_of_a_claim_is_valid():
    storage_class = msgspec.convert(
        {"metadata": {"name": "knarr-local"}, "provisioner": "p", "reclaimPolicy": "Retain"},
        StorageClass,
    )
    made = make_volume(claim("Pending", ""), storage_class, ROOT / "pvc-u", "node")
    admission = Admission(operation="CREATE", user=UserInfo(name="x"))
    defaulted = PERSISTENT_VOLUME.default(made, admission)
    assert validate_persistent_volume(defaulted, admission) == ()
    assert made.metadata.name == "pvc-u"
    assert made.spec.persistent_volume_reclaim_policy == "Retain"
    assert made.spec.claim_ref.uid == "u"
    assert made.spec.capacity == {"storage": "1Gi"}


def test_directories_are_made_once_and_closed_above(tmp_path):
    root = tmp_path / "volumes"
    directory = persistent.make_directory(root, "pvc-1")
    (directory / "file").write_text("x")
    assert persistent.make_directory(root, "pvc-1") == directory
    assert (directory / "file").read_text() == "x"
    assert root.stat().st_mode & 0o777 == 0o700
    assert directory.stat().st_mode & 0o777 == 0o777


def test_directories_are_removed_even_when_that_was_begun_before(tmp_path):
    directory = persistent.make_directory(tmp_path, "pvc-1")
    (directory / "a").mkdir()
    (directory / "a" / "link").symlink_to("/etc/passwd")
    half = tmp_path / ".deleting-pvc-1"
    half.mkdir()
    (half / "left").touch()
    persistent.remove_directory(directory)
    assert list(tmp_path.iterdir()) == []
    assert Path("/etc/passwd").exists()
    persistent.remove_directory(directory)
    half.mkdir()
    persistent.remove_directory(directory)
    assert list(tmp_path.iterdir()) == []


def test_sub_paths_stay_inside(tmp_path):
    directory = persistent.make_directory(tmp_path, "pvc-1")
    persistent.make_subpath(directory, "a/b")
    assert (directory / "a" / "b").stat().st_mode & 0o777 == 0o777
    (directory / "link").symlink_to("/tmp")
    persistent.make_subpath(directory, "link/evil-knarr")
    assert not Path("/tmp/evil-knarr").exists()
    for path in ("/abs", "../x", "a/../../x"):
        with pytest.raises(BadContainer):
            persistent.make_subpath(directory, path)


def test_a_mount_point_that_is_not_empty_is_never_removed(tmp_path):
    target = tmp_path / "mounted"
    target.mkdir()
    (target / "data").touch()
    with pytest.raises(OSError, match="not empty"):
        persistent.detach(target)
    assert (target / "data").exists()
    persistent.detach(tmp_path / "absent")
