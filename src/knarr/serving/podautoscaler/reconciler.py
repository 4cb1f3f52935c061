"""Scales Deployments as the autoscaler recommends.

Up is one patch of the scale subresource, before anything else is written: a request waits for it. Down
asks the gateways for idle replicas first, marks their Pods so that the ReplicaSet ends those, and then
lowers the number. A decision that is taken back before a Pod was told to end puts it into service again;
the marks on the Pods are all the memory this needs, so a restart loses none of it.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from knarr.kits.clock import Clock
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import label_value
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.apps.deployment import Deployment
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler, PodAutoscalerSpec
from knarr.resources.config.autoscaler import KPA_CLASS
from knarr.resources.core.pod import Pod
from knarr.serving import labels
from knarr.serving.autoscaler.autoscaler import Autoscaler
from knarr.serving.autoscaler.policy import Policy, Reachability, resolve_policy
from knarr.serving.autoscaler.scaler import plan_scale
from knarr.serving.config import ConfigStore
from knarr.serving.podautoscaler.plan import (
    PICKED_COST,
    make_inputs,
    plan_ends,
    plan_status,
    plan_unsupported,
)
from knarr.serving.revision.reconciler import BY_REVISION
from knarr.serving.writes import Writer


class IdlePicker(Protocol):
    """Names replicas that may end (``knarr.dataplane.session.DataplaneServer``)."""

    async def pick_idle(self, revision: str, count: int) -> tuple[str, ...]:
        """Replicas of a revision that get no new requests from now on."""
        ...

    def resume(self, revision: str, replicas: tuple[str, ...]) -> None:
        """Put them back into service."""
        ...


@dataclass(frozen=True, slots=True)
class PodAutoscalerReconciler:
    """One pass per change of a recommendation, of replicas or of the object."""

    writer: Writer
    autoscalers: Informer[PodAutoscaler]
    deployments: Informer[Deployment]
    pods: Informer[Pod]
    autoscaler: Autoscaler
    picker: IdlePicker
    in_path: Callable[[str], bool]
    config: ConfigStore
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        scaled = self.autoscalers.get(key)
        if scaled is None or scaled.deleting:
            self.autoscaler.forget(key)
            return DONE
        now = self.clock.wall()
        kind = scaled.metadata.annotation(labels.AUTOSCALING_CLASS) or KPA_CLASS
        if kind != KPA_CLASS:
            self.autoscaler.forget(key)
            status = plan_unsupported(scaled, kind, now)
            return await self.writer.write_status(self.autoscalers, scaled, status)
        policy = self._policy(scaled)
        recommended = self.autoscaler.track(key, policy)
        in_path = self.in_path(str(key))
        plan = plan_scale(policy, make_inputs(scaled, recommended.desired, now, in_path=in_path))
        if plan.apply:
            await self._scale(scaled, plan.want)
        status = plan_status(
            scaled, policy, want=plan.want, ready=self._ready(key), now=self.clock.wall()
        )
        return await self.writer.write_status(self.autoscalers, scaled, status, plan.again_in_s)

    def _ready(self, key: Key) -> int:
        return self.autoscaler.ready(str(key))

    def _policy(self, scaled: PodAutoscaler) -> Policy:
        spec = scaled.spec or PodAutoscalerSpec()
        return resolve_policy(
            self.config.current.autoscaler,
            scaled.metadata.annotations or {},
            container_concurrency=spec.container_concurrency,
            reachability=_reachability(spec.reachability),
            progress_deadline_s=self.config.current.deployment.progress_deadline_s,
        )

    async def _scale(self, scaled: PodAutoscaler, want: int) -> None:
        target = (scaled.spec or PodAutoscalerSpec()).scale_target_ref
        deployment = (
            self.deployments.get(Key(scaled.metadata.namespace, target.name)) if target else None
        )
        if deployment is None or deployment.spec is None:
            return
        current = 1 if deployment.spec.replicas is None else deployment.spec.replicas
        pods = self.pods.by_index(BY_REVISION, label_value(*scaled.key))
        if want > current:
            await self.writer.client.scale(self.deployments.kind, deployment.key, want)
        await self._resume(scaled.key, pods, want)
        if want < current:
            await self._pick(scaled.key, pods, want)
            await self.writer.client.scale(self.deployments.kind, deployment.key, want)

    async def _resume(self, key: Key, pods: Sequence[Pod], want: int) -> None:
        """Take marks back: nothing has to end any more."""
        kept = plan_ends(pods, want).resume
        if kept:
            self.picker.resume(str(key), tuple(map(replica_id, kept)))
            for pod in kept:
                await self._mark(pod, None)

    async def _pick(self, key: Key, pods: Sequence[Pod], want: int) -> None:
        """Mark the idle Pods that are to end."""
        count = plan_ends(pods, want).pick
        picked = set(await self.picker.pick_idle(str(key), count)) if count else set[str]()
        for pod in pods:
            if replica_id(pod) in picked:
                await self._mark(pod, PICKED_COST)

    async def _mark(self, pod: Pod, cost: str | None) -> None:
        patch = {"metadata": {"annotations": {labels.DELETION_COST: cost}}}
        with contextlib.suppress(NotFound):
            patched = await self.writer.client.patch(self.pods.kind, pod.key, patch)
            self.pods.observe(patched)


def replica_id(pod: Pod) -> str:
    """What the data plane calls a Pod."""
    return pod.metadata.annotation(labels.SANDBOX) or pod.metadata.uid


def _reachability(text: str) -> Reachability:
    if text == "Unreachable":
        return "Unreachable"
    return "Reachable" if text == "Reachable" else ""
