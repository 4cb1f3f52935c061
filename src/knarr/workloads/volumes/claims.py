"""Carries out what ``plan_claim`` decides.

A binding is four writes: the volume names the claim, the claim names the volume, then both say Bound. The
first one decides; each of the others can be repeated after a crash.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from knarr.kits.clock import Clock
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import Add, enqueue_self, label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, Resource
from knarr.resources.core.persistentvolume import PERSISTENT_VOLUME, PersistentVolume
from knarr.resources.core.persistentvolumeclaim import (
    PERSISTENT_VOLUME_CLAIM,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    storage_request,
)
from knarr.resources.core.pod import Pod
from knarr.resources.core.storage_values import (
    BIND_COMPLETED_ANNOTATION,
    BOUND_BY_CONTROLLER_ANNOTATION,
    CLAIM_FINALIZER,
    PROVISIONER_ANNOTATION,
    STORAGE,
)
from knarr.resources.storage.storageclass import StorageClass
from knarr.workloads import pods as pods_of
from knarr.workloads.volumes.plan import (
    ClaimPlan,
    amount,
    capacity_of,
    claims_of,
    is_for,
    plan_claim,
)

BY_CLAIM = "claim"
"""Name of the index of Pods by the claims that they mount."""


def claim_keys(subject: Resource) -> Iterable[str]:
    """Index function: the claims that a Pod mounts."""
    names = claims_of(subject) if isinstance(subject, Pod) else ()
    return [label_value(subject.metadata.namespace, name) for name in names]


@dataclass(frozen=True, slots=True)
class ClaimReconciler:
    """Binds claims, and lets those go that no Pod uses any more."""

    client: Client
    claims: Informer[PersistentVolumeClaim]
    volumes: Informer[PersistentVolume]
    classes: Informer[StorageClass]
    pods: Informer[Pod]
    clock: Clock
    recorder: EventRecorder

    def watch(self, add: Add) -> None:
        """Follow claims, and whatever may give one a volume or take its last user away."""
        self.pods.add_index(BY_CLAIM, claim_keys)

        def pod_changed(change: Change[Pod]) -> None:
            for name in claims_of(change.subject):
                add(Key(change.key.namespace, name))

        def volume_changed(change: Change[PersistentVolume]) -> None:
            reference = change.subject.spec.claim_ref if change.subject.spec else None
            if reference is not None:
                add(Key(reference.namespace, reference.name))
            else:
                self._enqueue_unbound(add)

        self.claims.add_handler(enqueue_self(add))
        self.pods.add_handler(pod_changed)
        self.volumes.add_handler(volume_changed)
        self.classes.add_handler(lambda _: self._enqueue_unbound(add))

    def _enqueue_unbound(self, add: Add) -> None:
        for claim in self.claims.list():
            if claim.status is None or claim.status.phase != "Bound":
                add(claim.key)

    async def reconcile(self, key: Key) -> Result:
        """One step for one claim."""
        claim = self.claims.get(key)
        if claim is None:
            return DONE
        users = self.pods.by_index(BY_CLAIM, label_value(key.namespace, key.name))
        if claim.deleting:
            if not any(pods_of.node_of(pod) and not pods_of.is_finished(pod) for pod in users):
                await self._let_go(claim)
            return DONE
        spec = claim.spec or PersistentVolumeClaimSpec()
        chosen = self.classes.get(Key("", spec.storage_class_name or ""))
        used = any(pods_of.is_active(pod) for pod in users)
        plan = plan_claim(claim, self.volumes.list(), chosen, used=used)
        if plan.message:
            self.recorder.record(claim, plan.type, plan.reason, plan.message)
        await self._act(claim, plan, chosen)
        return DONE

    async def _act(
        self, claim: PersistentVolumeClaim, plan: ClaimPlan, chosen: StorageClass | None
    ) -> None:
        volume = plan.volume
        match plan.step:
            case "provision" if chosen is not None:
                if claim.metadata.annotation(PROVISIONER_ANNOTATION) != chosen.provisioner:
                    wanted = {PROVISIONER_ANNOTATION: chosen.provisioner}
                    await self._patch(claim, {"metadata": {"annotations": wanted}})
            case "bind" if volume is not None:
                volume = await self._take(volume, claim)
                claim = await self._name_volume(claim, volume)
                await self._report_bound(claim, volume)
            case "bound" if volume is not None:
                volume = await self._grown(claim, volume, chosen)
                await self._report_bound(claim, volume)
            case "lost":
                await self._report(claim, PersistentVolumeClaimStatus(phase="Lost"))
            case _:
                status = claim.status or PersistentVolumeClaimStatus()
                await self._report(claim, replace(status, phase="Pending"))

    # --- binding ------------------------------------------------------------------------------------

    async def _take(
        self, volume: PersistentVolume, claim: PersistentVolumeClaim
    ) -> PersistentVolume:
        """Have the volume name the claim; whoever comes second gets a conflict."""
        reference = volume.spec.claim_ref if volume.spec else None
        if reference is not None and is_for(volume, claim) and reference.uid:
            return volume
        wanted = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim.metadata.namespace,
            "name": claim.metadata.name,
            "uid": claim.metadata.uid,
            "resourceVersion": claim.metadata.resource_version,
        }
        metadata: dict[str, Any] = {"resourceVersion": volume.metadata.resource_version}
        if reference is None:
            metadata["annotations"] = {BOUND_BY_CONTROLLER_ANNOTATION: "yes"}
        patch = {"metadata": metadata, "spec": {"claimRef": wanted}}
        taken = await self.client.patch(PERSISTENT_VOLUME, volume.key, patch)
        self.volumes.observe(taken)
        return taken

    async def _name_volume(
        self, claim: PersistentVolumeClaim, volume: PersistentVolume
    ) -> PersistentVolumeClaim:
        annotations = {BIND_COMPLETED_ANNOTATION: "yes"}
        if claim.spec is None or not claim.spec.volume_name:
            annotations[BOUND_BY_CONTROLLER_ANNOTATION] = "yes"
        return await self._patch(
            claim,
            {
                "metadata": {
                    "resourceVersion": claim.metadata.resource_version,
                    "annotations": annotations,
                },
                "spec": {"volumeName": volume.metadata.name},
            },
        )

    async def _grown(
        self, claim: PersistentVolumeClaim, volume: PersistentVolume, chosen: StorageClass | None
    ) -> PersistentVolume:
        """A claim may ask for more later, where its class allows it; sizes are nominal here."""
        request = storage_request(claim.spec)
        if amount(request) <= amount(capacity_of(volume)):
            return volume
        if chosen is None or not chosen.allow_volume_expansion:
            text = "the class of the claim does not allow volume expansion"
            self.recorder.record(claim, "Warning", "VolumeResizeFailed", text)
            return volume
        patch = {"spec": {"capacity": {STORAGE: str(request)}}}
        grown = await self.client.patch(PERSISTENT_VOLUME, volume.key, patch)
        self.volumes.observe(grown)
        return grown

    async def _report_bound(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        spec = volume.spec
        await self._report(
            claim,
            PersistentVolumeClaimStatus(
                phase="Bound",
                access_modes=spec.access_modes if spec else (),
                capacity={STORAGE: capacity_of(volume)},
            ),
        )

    # --- writes -------------------------------------------------------------------------------------

    async def _patch(
        self, claim: PersistentVolumeClaim, patch: dict[str, Any]
    ) -> PersistentVolumeClaim:
        patched = await self.client.patch(PERSISTENT_VOLUME_CLAIM, claim.key, patch)
        self.claims.observe(patched)
        return patched

    async def _report(
        self, claim: PersistentVolumeClaim, status: PersistentVolumeClaimStatus
    ) -> None:
        if status != claim.status:
            updated = replace(claim, status=status)
            self.claims.observe(await self.client.update_status(PERSISTENT_VOLUME_CLAIM, updated))

    async def _let_go(self, claim: PersistentVolumeClaim) -> None:
        finalizers = claim.metadata.finalizers or ()
        if CLAIM_FINALIZER not in finalizers:
            return
        left = [name for name in finalizers if name != CLAIM_FINALIZER]
        metadata = {
            "resourceVersion": claim.metadata.resource_version,
            "finalizers": left or None,
        }
        try:
            await self.client.patch(PERSISTENT_VOLUME_CLAIM, claim.key, {"metadata": metadata})
        except NotFound:
            return
