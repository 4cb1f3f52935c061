"""Makes a Revision's workload exist and its status tell the truth."""

from dataclasses import dataclass

import msgspec

from knarr.kits.clock import Clock
from knarr.kube.client import NotOwned
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import label_value
from knarr.kube.informer import Informer
from knarr.meta.objects import Key
from knarr.resources.apps.deployment import Deployment
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler
from knarr.resources.core.pod import Pod
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.serving.podspec import RevisionSpec
from knarr.resources.serving.revision import Revision
from knarr.serving import labels
from knarr.serving.autoscaler.policy import Reachability
from knarr.serving.config import ConfigStore, Recorder
from knarr.serving.revision.digests import BackgroundDigests, is_resolved
from knarr.serving.revision.plan import RevisionPlan
from knarr.serving.revision.resources import deployment_name, make_autoscaler, make_deployment
from knarr.serving.writes import Writer, together

BY_REVISION = "revision"
"""Name of the index of Pods by the Revision in their label."""
AUTOSCALER_DEFAULTS = frozenset({labels.AUTOSCALING_CLASS, labels.AUTOSCALING_METRIC})
"""Annotations that the API server adds to a PodAutoscaler."""


@dataclass(frozen=True, slots=True)
class RevisionReconciler:
    """Digests first, then the Deployment, then the PodAutoscaler."""

    writer: Writer
    revisions: Informer[Revision]
    deployments: Informer[Deployment]
    autoscalers: Informer[PodAutoscaler]
    pods: Informer[Pod]
    accounts: Informer[ServiceAccount]
    digests: BackgroundDigests
    config: ConfigStore
    recorder: Recorder
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        revision = self.revisions.get(key)
        if revision is None or revision.deleting:
            self.digests.forget(key)
            return DONE
        plan = RevisionPlan(revision, self.clock.wall())
        plan.log_url(self.config.current.log_url_template)
        resolved = revision
        if is_resolved(revision):
            self.digests.forget(key)
        else:
            digests = self.digests.lookup(
                revision, self.config.current.deployment, self._pull_secrets(revision)
            )
            if digests is None:
                plan.resolving()
                return await self._store(revision, plan)
            if digests.failed:
                plan.image_missing(digests.failed, digests.cause)
                return await self._store(revision, plan, self.digests.again_in_s(key))
            resolved = plan.resolved(digests.by_reference)
        try:
            await self._children(resolved, plan)
        except NotOwned:
            await self._store(revision, plan)
            raise
        return await self._store(revision, plan)

    def _pull_secrets(self, revision: Revision) -> tuple[str, ...]:
        """The Revision's own, then those of its service account, as its Pods will have them."""
        spec = revision.spec or RevisionSpec()
        name = spec.service_account_name or "default"
        account = self.accounts.get(Key(revision.metadata.namespace, name))
        inherited = account.image_pull_secrets if account is not None else ()
        return tuple(dict.fromkeys(item.name for item in (*spec.image_pull_secrets, *inherited)))

    async def _store(
        self, revision: Revision, plan: RevisionPlan, again_in_s: float | None = None
    ) -> Result:
        result = await self.writer.write_status(self.revisions, revision, plan.status(), again_in_s)
        if plan.ready and not plan.ready_before:
            text = "Revision becomes ready upon all resources being ready"
            self.recorder.record(revision, "Normal", "RevisionReady", text)
        return result

    async def _children(self, revision: Revision, plan: RevisionPlan) -> None:
        key = revision.key
        name = deployment_name(key.name)
        if self.deployments.get(Key(key.namespace, name)) is None:
            plan.deployment_created()
            await together(
                self._deployment(revision, plan),
                self._autoscaler(revision, plan, plan.reachability(None)),
            )
        else:
            await self._deployment(revision, plan)
            deployment = self.deployments.get(Key(key.namespace, name))
            if deployment is not None:
                plan.follow_deployment(
                    deployment,
                    self._pods(key),
                    always_schedulable=self.config.current.deployment.pod_is_always_schedulable,
                )
            # Reachability follows what was just learned from the Deployment.
            await self._autoscaler(revision, plan, plan.reachability(deployment))
        autoscaler = self.autoscalers.get(key)
        if autoscaler is not None:
            plan.follow_autoscaler(autoscaler)

    def _pods(self, key: Key) -> list[Pod]:
        found = self.pods.by_index(BY_REVISION, label_value(key.namespace, key.name))
        return [pod for pod in found if not pod.deleting]

    async def _deployment(self, revision: Revision, plan: RevisionPlan) -> None:
        desired = make_deployment(revision, self.config.current)
        if self.deployments.get(desired.key) is not None:
            desired = _without_replicas(desired)
        try:
            await self.writer.ensure_child(self.deployments, desired, revision)
        except NotOwned:
            plan.not_owned("Deployment", desired.metadata.name)
            raise

    async def _autoscaler(
        self, revision: Revision, plan: RevisionPlan, reachability: Reachability
    ) -> None:
        desired = make_autoscaler(revision, reachability)
        try:
            await self.writer.ensure_child(
                self.autoscalers, desired, revision, keep=AUTOSCALER_DEFAULTS
            )
        except NotOwned:
            plan.not_owned("PodAutoscaler", desired.metadata.name)
            raise


def _without_replicas(deployment: Deployment) -> Deployment:
    """What is compared once the autoscaler owns the number of replicas."""
    assert deployment.spec is not None
    spec = msgspec.structs.replace(deployment.spec, replicas=None)
    return msgspec.structs.replace(deployment, spec=spec)
