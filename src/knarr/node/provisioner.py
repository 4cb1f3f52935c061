"""Makes and removes the directories behind PersistentVolumes of the provisioner ``knarr.dev/local``.

What a claim asks for is told by its annotation ``volume.kubernetes.io/storage-provisioner``, as to any
provisioner of Kubernetes; binding the two is the server's work. A volume of a claim is named ``pvc-<uid>``.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import Add, enqueue_self
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.node.bundle import BadContainer
from knarr.node.claims import volume_directory
from knarr.node.persistent import make_directory, remove_directory
from knarr.node.threads import in_thread
from knarr.resources.core.persistentvolume import (
    PERSISTENT_VOLUME,
    LocalVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PersistentVolume,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from knarr.resources.core.persistentvolumeclaim import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    storage_request,
)
from knarr.resources.core.references import ObjectReference
from knarr.resources.core.storage_values import (
    FILESYSTEM,
    LOCAL_PROVISIONER,
    PROVISIONED_BY_ANNOTATION,
    PROVISIONER_ANNOTATION,
    STORAGE,
)
from knarr.resources.storage.storageclass import StorageClass

LOG = logging.getLogger(__name__)


def is_wanted(claim: PersistentVolumeClaim) -> bool:
    """Whether a claim waits for a volume of ours."""
    spec = claim.spec
    return (
        not claim.deleting
        and spec is not None
        and not spec.volume_name
        and claim.metadata.annotation(PROVISIONER_ANNOTATION) == LOCAL_PROVISIONER
    )


def is_to_be_removed(volume: PersistentVolume) -> bool:
    """Whether a volume of ours has lost its claim and its files are not to be kept."""
    spec, status = volume.spec, volume.status
    return (
        volume.metadata.annotation(PROVISIONED_BY_ANNOTATION) == LOCAL_PROVISIONER
        and spec is not None
        and spec.persistent_volume_reclaim_policy == "Delete"
        and status is not None
        and status.phase == "Released"
    )


def make_volume(
    claim: PersistentVolumeClaim, storage_class: StorageClass, path: Path, node: str
) -> PersistentVolume:
    """The volume of a claim.

    Args:
        claim: that gets it.
        storage_class: of the claim.
        path: of its directory.
        node: name of the node that has the directory.
    """
    spec = claim.spec or PersistentVolumeClaimSpec()
    here = NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=(node,))
    term = NodeSelectorTerm(match_expressions=(here,))
    return PersistentVolume(
        metadata=ObjectMeta(
            name=path.name, annotations={PROVISIONED_BY_ANNOTATION: LOCAL_PROVISIONER}
        ),
        spec=PersistentVolumeSpec(
            capacity={STORAGE: storage_request(spec)},
            access_modes=spec.access_modes,
            local=LocalVolumeSource(path=str(path)),
            claim_ref=ObjectReference(
                api_version="v1",
                kind="PersistentVolumeClaim",
                namespace=claim.metadata.namespace,
                name=claim.metadata.name,
                uid=claim.metadata.uid,
            ),
            persistent_volume_reclaim_policy=storage_class.reclaim_policy or "Delete",
            storage_class_name=storage_class.metadata.name,
            volume_mode=FILESYSTEM,
            node_affinity=VolumeNodeAffinity(required=NodeSelector(node_selector_terms=(term,))),
        ),
    )


@dataclass(frozen=True, slots=True)
class Provisioner:
    """Makes a directory and a volume for each claim that waits for one.

    Attributes:
        root: of the volumes' directories.
        node: name of this node.
    """

    client: Client
    claims: Informer[PersistentVolumeClaim]
    classes: Informer[StorageClass]
    recorder: EventRecorder
    root: Path
    node: str

    def watch(self, add: Add) -> None:
        """Follow the claims, and the classes that they name."""

        def class_changed(_: Change[StorageClass]) -> None:
            for claim in self.claims.list():
                if is_wanted(claim):
                    add(claim.key)

        self.claims.add_handler(enqueue_self(add))
        self.classes.add_handler(class_changed)

    async def reconcile(self, key: Key) -> Result:
        """Provide for one claim."""
        claim = self.claims.get(key)
        if claim is None or not is_wanted(claim):
            return DONE
        spec = claim.spec or PersistentVolumeClaimSpec()
        chosen = self.classes.get(Key("", spec.storage_class_name or ""))
        if chosen is None or chosen.provisioner != LOCAL_PROVISIONER:
            return DONE
        name = f"pvc-{claim.metadata.uid}"
        try:
            path = await in_thread(lambda: make_directory(self.root, name))
        except OSError as error:
            text = f"failed to provision volume: {error.strerror}"
            self.recorder.record(claim, "Warning", "ProvisioningFailed", text)
            raise
        try:
            await self.client.create(PERSISTENT_VOLUME, make_volume(claim, chosen, path, self.node))
        except AlreadyExists:
            return DONE
        text = f"Successfully provisioned volume {name}"
        self.recorder.record(claim, "Normal", "ProvisioningSucceeded", text)
        return DONE


@dataclass(frozen=True, slots=True)
class Reclaimer:
    """Removes the directories of volumes that are released and not to be kept."""

    client: Client
    volumes: Informer[PersistentVolume]
    recorder: EventRecorder
    root: Path

    def watch(self, add: Add) -> None:
        """Follow the volumes."""
        self.volumes.add_handler(enqueue_self(add))

    async def reconcile(self, key: Key) -> Result:
        """Reclaim one volume."""
        volume = self.volumes.get(key)
        if volume is None or not is_to_be_removed(volume):
            return DONE
        source = volume.spec.local if volume.spec else None
        try:
            directory = volume_directory(self.root, source.path if source else "")
            await in_thread(lambda: remove_directory(directory))
        except (BadContainer, OSError) as error:
            self.recorder.record(volume, "Warning", "VolumeFailedDelete", str(error))
            LOG.warning("volume %s: %s", volume.metadata.name, error)
            return Result(requeue_after_s=60.0)
        try:
            await self.client.delete(PERSISTENT_VOLUME, key, uid=volume.metadata.uid)
        except NotFound:
            return DONE
        return DONE
