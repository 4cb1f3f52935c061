"""Claims a domain, resolves what it is mapped to, and makes the Ingress."""

import contextlib
from dataclasses import dataclass
from typing import Any

from knarr.kits.clock import Clock
from knarr.kube.client import NotOwned
from knarr.kube.controller import DONE, Result
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, NotFound, Terminal
from knarr.meta.objects import Key, controller_of
from knarr.resources.core.service import Service as CoreService
from knarr.resources.networking.clusterdomainclaim import ClusterDomainClaim
from knarr.resources.networking.ingress import Ingress
from knarr.resources.serving.domainmapping import DomainMapping
from knarr.resources.serving.route import Route
from knarr.resources.serving.service import Service
from knarr.serving import labels
from knarr.serving.config import ConfigStore, Recorder
from knarr.serving.domainmapping.plan import DomainMappingPlan, holds
from knarr.serving.domainmapping.references import (
    Find,
    Found,
    Target,
    Unresolved,
    address_of,
    resolve,
)
from knarr.serving.domainmapping.resources import ingress_name, make_claim, make_ingress
from knarr.serving.writes import Writer


@dataclass(frozen=True, slots=True)
class DomainMappingReconciler:
    """The claim first, then the reference, then the Ingress.

    What waits for a claim, a Service or the configuration is enqueued by their changes.
    """

    writer: Writer
    mappings: Informer[DomainMapping]
    claims: Informer[ClusterDomainClaim]
    ingresses: Informer[Ingress]
    services: Informer[Service]
    routes: Informer[Route]
    core_services: Informer[CoreService]
    config: ConfigStore
    recorder: Recorder
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        mapping = self.mappings.get(key)
        if mapping is None:
            return DONE
        finalizers = tuple(mapping.metadata.finalizers or ())
        held = labels.DOMAIN_MAPPING_FINALIZER in finalizers
        if mapping.deleting:
            if held:
                await self._release(mapping)
                rest = [name for name in finalizers if name != labels.DOMAIN_MAPPING_FINALIZER]
                await self._finalize(mapping, rest)
            return DONE
        if not held:
            mapping = await self._finalize(mapping, [*finalizers, labels.DOMAIN_MAPPING_FINALIZER])
            if mapping is None:
                return DONE
        plan = DomainMappingPlan(mapping, self.config.current, self.clock.wall())
        try:
            await self._map(mapping, plan)
        except Terminal:
            # A mark says so already.
            await self.writer.write_status(self.mappings, mapping, plan.status())
            raise
        return await self.writer.write_status(self.mappings, mapping, plan.status())

    async def _map(self, mapping: DomainMapping, plan: DomainMappingPlan) -> None:
        if not await self._claim(mapping, plan):
            return
        network = self.config.current.network
        plan.certificates(network)
        target = resolve(mapping, self._finders(), self.config.settings.cluster_domain)
        if isinstance(target, Unresolved):
            plan.unresolved(target.message)
            return
        plan.resolved()
        plan.follow_ingress(await self._ingress(mapping, target, plan))

    # --- the claim ----------------------------------------------------------------------------------

    async def _claim(self, mapping: DomainMapping, plan: DomainMappingPlan) -> bool:
        claim = self.claims.get(Key("", mapping.metadata.name))
        if claim is None:
            if not self.config.current.network.autocreate_cluster_domain_claims:
                plan.unclaimed()
                return False
            claim = await self._make_claim(mapping)
        if not holds(mapping, claim):
            plan.claimed_by_another()
            await self._withdraw(mapping)
            return False
        plan.claimed()
        return True

    async def _make_claim(self, mapping: DomainMapping) -> ClusterDomainClaim:
        desired, kind = make_claim(mapping), self.claims.kind
        try:
            claim = await self.writer.client.create(kind, desired)
        except AlreadyExists:
            claim = await self.writer.client.get(kind, desired.key)
        self.claims.observe(claim)
        return claim

    async def _withdraw(self, mapping: DomainMapping) -> None:
        """The domain was given to another namespace: it must not be served for this one any more."""
        ingress = self.ingresses.get(Key(mapping.metadata.namespace, ingress_name(mapping)))
        controller = controller_of(ingress) if ingress is not None else None
        if ingress is None or controller is None or controller.uid != mapping.metadata.uid:
            return
        uid = ingress.metadata.uid
        with contextlib.suppress(NotFound):
            await self.writer.client.delete(self.ingresses.kind, ingress.key, uid=uid)
        self.ingresses.forget(ingress.key, uid)

    async def _release(self, mapping: DomainMapping) -> None:
        """Claims that make themselves go by themselves; others are their makers' business."""
        if not self.config.current.network.autocreate_cluster_domain_claims:
            return
        claim = self.claims.get(Key("", mapping.metadata.name))
        if claim is None or not holds(mapping, claim):
            return
        uid = claim.metadata.uid
        with contextlib.suppress(NotFound):
            await self.writer.client.delete(self.claims.kind, claim.key, uid=uid)
        self.claims.forget(claim.key, uid)

    async def _finalize(
        self, mapping: DomainMapping, finalizers: list[str]
    ) -> DomainMapping | None:
        patch: dict[str, Any] = {
            "metadata": {
                "finalizers": finalizers or None,
                "resourceVersion": mapping.metadata.resource_version,
            }
        }
        try:
            patched = await self.writer.client.patch(self.mappings.kind, mapping.key, patch)
        except NotFound:
            return None
        if finalizers or not mapping.deleting:
            self.mappings.observe(patched)
        return patched

    # --- the way ------------------------------------------------------------------------------------

    def _finders(self) -> dict[tuple[str, str], tuple[str, Find]]:
        suffix = f"svc.{self.config.settings.cluster_domain}"

        def service(key: Key) -> Found | None:
            found = self.services.get(key)
            return Found(address_of(found.status)) if found is not None else None

        def route(key: Key) -> Found | None:
            found = self.routes.get(key)
            return Found(address_of(found.status)) if found is not None else None

        def core(key: Key) -> Found | None:
            found = key in self.core_services
            return Found(f"http://{key.name}.{key.namespace}.{suffix}") if found else None

        return {
            (self.services.kind.group, "Service"): ("services.serving.knative.dev", service),
            (self.routes.kind.group, "Route"): ("routes.serving.knative.dev", route),
            ("", "Service"): ("services", core),
        }

    async def _ingress(
        self, mapping: DomainMapping, target: Target, plan: DomainMappingPlan
    ) -> Ingress:
        try:
            desired = make_ingress(mapping, target, self.config.current.network)
            ingress, done = await self.writer.ensure_child(self.ingresses, desired, mapping)
        except NotOwned:
            plan.ingress_not_owned(ingress_name(mapping))
            raise
        except Terminal as error:
            plan.ingress_failed(error.reason, error.message)
            raise
        if done.created:
            text = f'Created Ingress "{ingress.metadata.name}"'
            self.recorder.record(mapping, "Normal", "Created", text)
        return ingress
