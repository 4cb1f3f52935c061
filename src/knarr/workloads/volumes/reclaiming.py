"""Keeps the phase of volumes, and protects those that are bound from going."""

from dataclasses import dataclass

from msgspec.structs import replace

from knarr.kits.clock import Clock, format_timestamp
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add, enqueue_self
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.core.persistentvolume import (
    PERSISTENT_VOLUME,
    PersistentVolume,
    PersistentVolumeStatus,
)
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.resources.core.storage_values import VOLUME_FINALIZER
from knarr.workloads.volumes.plan import phase_of_volume


@dataclass(frozen=True, slots=True)
class VolumeReconciler:
    """One volume's phase and finalizer; its files are the provisioner's to remove."""

    client: Client
    volumes: Informer[PersistentVolume]
    claims: Informer[PersistentVolumeClaim]
    clock: Clock

    def watch(self, add: Add) -> None:
        """Follow volumes and the claims that name one, or that one names."""

        def claim_changed(change: Change[PersistentVolumeClaim]) -> None:
            for side in (change.old, change.new):
                if side is not None and side.spec is not None and side.spec.volume_name:
                    add(Key("", side.spec.volume_name))

        self.volumes.add_handler(enqueue_self(add))
        self.claims.add_handler(claim_changed)

    async def reconcile(self, key: Key) -> Result:
        """One step for one volume."""
        volume = self.volumes.get(key)
        if volume is None:
            return DONE
        phase = phase_of_volume(volume, self._claim_of(volume))
        status = volume.status or PersistentVolumeStatus()
        if (
            phase is not None
            and phase != status.phase
            and not (status.phase == "Failed" and phase == "Released")
        ):
            moment = format_timestamp(self.clock.wall())
            status = PersistentVolumeStatus(phase=phase, last_phase_transition_time=moment)
            try:
                volume = await self.client.update_status(
                    PERSISTENT_VOLUME, replace(volume, status=status)
                )
            except NotFound:
                return DONE
            self.volumes.observe(volume)
        if volume.deleting and phase != "Bound":
            await self._let_go(volume)
        return DONE

    def _claim_of(self, volume: PersistentVolume) -> PersistentVolumeClaim | None:
        reference = volume.spec.claim_ref if volume.spec else None
        if reference is None:
            return None
        return self.claims.get(Key(reference.namespace, reference.name))

    async def _let_go(self, volume: PersistentVolume) -> None:
        finalizers = volume.metadata.finalizers or ()
        if VOLUME_FINALIZER not in finalizers:
            return
        left = [name for name in finalizers if name != VOLUME_FINALIZER]
        metadata = {
            "resourceVersion": volume.metadata.resource_version,
            "finalizers": left or None,
        }
        try:
            await self.client.patch(PERSISTENT_VOLUME, volume.key, {"metadata": metadata})
        except NotFound:
            return
