"""Carries out what ``plan_deployment`` decides."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.events import EventRecorder
from knarr.kube.handlers import BY_OWNER
from knarr.kube.informer import Informer
from knarr.meta.errors import AlreadyExists, Conflict, NotFound
from knarr.meta.objects import Key, controller_of
from knarr.resources.apps.deployment import DEPLOYMENT, Deployment, DeploymentStatus
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet
from knarr.resources.core.pod import Pod
from knarr.workloads.adoption import Adoption
from knarr.workloads.deployment.plan import Plan, plan_deployment
from knarr.workloads.deployment.resources import REVISION_ANNOTATION, same_template
from knarr.workloads.pods import is_finished
from knarr.workloads.replicaset.plan import matcher_of


@dataclass(frozen=True, slots=True)
class DeploymentReconciler:
    """Makes the ReplicaSets of a Deployment and moves replicas between them."""

    client: Client
    deployments: Informer[Deployment]
    replica_sets: Informer[ReplicaSet]
    pods: Informer[Pod]
    clock: Clock
    recorder: EventRecorder

    async def reconcile(self, key: Key) -> Result:
        """One step; the events of what it writes bring the next."""
        deployment = self.deployments.get(key)
        if deployment is None or deployment.deleting or deployment.spec is None:
            return DONE
        owned = await self._claimed(deployment)
        plan = plan_deployment(
            deployment, owned, self.clock.wall(), old_pods=self._old_pods(deployment, owned)
        )
        if plan.create is not None and not await self._create(deployment, plan.create):
            return DONE
        by_name = {item.metadata.name: item for item in owned}
        await self._scale(deployment, by_name, plan)
        if plan.annotate:
            await self._annotate(by_name[plan.current], plan.annotate)
        for name in plan.delete:
            await self._delete(by_name[name])
        await self._report(deployment, plan)
        return Result(plan.requeue_after_s)

    async def _claimed(self, deployment: Deployment) -> tuple[ReplicaSet, ...]:
        """Its ReplicaSets, after taking in those that the selector means and letting the others go."""
        adoption = Adoption(self.client, DEPLOYMENT, self.replica_sets)
        selector = matcher_of(deployment.spec.selector if deployment.spec else None)
        await adoption.adopt(deployment, selector)
        kept = []
        for item in self.replica_sets.by_index(BY_OWNER, deployment.metadata.uid):
            if item.deleting or not self._controls(deployment, item):
                continue
            if selector.matches(item.metadata.labels):
                kept.append(item)
            else:
                await adoption.release(deployment, item)
        return tuple(kept)

    @staticmethod
    def _controls(deployment: Deployment, replica_set: ReplicaSet) -> bool:
        controller = controller_of(replica_set)
        return controller is not None and controller.uid == deployment.metadata.uid

    def _old_pods(self, deployment: Deployment, owned: tuple[ReplicaSet, ...]) -> bool:
        strategy = deployment.spec.strategy if deployment.spec else None
        if strategy is None or strategy.type != "Recreate":
            return False
        return any(
            not is_finished(pod)
            for item in owned
            if not same_template(deployment, item)
            for pod in self.pods.by_index(BY_OWNER, item.metadata.uid)
        )

    async def _create(self, deployment: Deployment, wanted: ReplicaSet) -> bool:
        """Create a ReplicaSet; False when its name is taken by another one (a hash collision)."""
        try:
            created = await self.client.create(REPLICA_SET, wanted)
        except AlreadyExists as error:
            taken = await self.client.get(REPLICA_SET, wanted.key)
            if self._controls(deployment, taken) and same_template(deployment, taken):
                self.replica_sets.observe(taken)
                raise Conflict(error.message) from error
            await self._collide(deployment)
            return False
        self.replica_sets.observe(created)
        replicas = wanted.spec.replicas if wanted.spec else 0
        if replicas:
            self._record_scaling(deployment, created, 0, replicas)
        return True

    async def _collide(self, deployment: Deployment) -> None:
        status = deployment.status or DeploymentStatus()
        status = msgspec.structs.replace(status, collision_count=(status.collision_count or 0) + 1)
        await self.client.update_status(
            DEPLOYMENT, msgspec.structs.replace(deployment, status=status)
        )

    async def _scale(
        self, deployment: Deployment, by_name: dict[str, ReplicaSet], plan: Plan
    ) -> None:
        for name, replicas in plan.scale.items():
            current = by_name[name]
            scaled = await self.client.patch(
                REPLICA_SET,
                current.key,
                {
                    "metadata": {"resourceVersion": current.metadata.resource_version},
                    "spec": {"replicas": replicas},
                },
            )
            self.replica_sets.observe(scaled)
            before = (current.spec.replicas or 0) if current.spec else 0
            self._record_scaling(deployment, current, before, replicas)

    def _record_scaling(
        self, deployment: Deployment, replica_set: ReplicaSet, before: int, after: int
    ) -> None:
        direction = "up" if after > before else "down"
        name = replica_set.metadata.name
        self.recorder.record(
            deployment,
            "Normal",
            "ScalingReplicaSet",
            f"Scaled {direction} replica set {name} from {before} to {after}",
        )

    async def _annotate(self, replica_set: ReplicaSet, annotations: Mapping[str, str]) -> None:
        patch = {"metadata": {"annotations": dict(annotations)}}
        annotated = await self.client.patch(REPLICA_SET, replica_set.key, patch)
        self.replica_sets.observe(annotated)

    async def _delete(self, replica_set: ReplicaSet) -> None:
        uid = replica_set.metadata.uid
        try:
            left = await self.client.delete(REPLICA_SET, replica_set.key, uid=uid)
        except NotFound:
            left = None
        if left is None:
            self.replica_sets.forget(replica_set.key, uid)

    async def _report(self, deployment: Deployment, plan: Plan) -> None:
        if deployment.metadata.annotation(REVISION_ANNOTATION) != plan.revision:
            deployment = await self.client.patch(
                DEPLOYMENT,
                deployment.key,
                {
                    "metadata": {
                        "resourceVersion": deployment.metadata.resource_version,
                        "annotations": {REVISION_ANNOTATION: plan.revision},
                    }
                },
            )
            self.deployments.observe(deployment)
        if plan.status != (deployment.status or DeploymentStatus()):
            deployment = await self.client.update_status(
                DEPLOYMENT, msgspec.structs.replace(deployment, status=plan.status)
            )
            self.deployments.observe(deployment)
