"""Counts PodDisruptionBudgets whenever one of their Pods changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from knarr.kits.clock import Clock
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add, enqueue_self
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, OwnerReference, controller_of
from knarr.resources.core.pod import Pod
from knarr.resources.core.references_validation import compile_selector
from knarr.resources.policy.poddisruptionbudget import (
    POD_DISRUPTION_BUDGET,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
)
from knarr.workloads import pods as pods_of
from knarr.workloads.disruption.plan import count_budget, needs_scale


def selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """Whether a budget is about a Pod; a budget without a selector is about none."""
    selector = budget.spec.selector if budget.spec else None
    if selector is None or budget.metadata.namespace != pod.metadata.namespace:
        return False
    return compile_selector(selector).matches(pod.metadata.labels or {})


@dataclass(frozen=True, slots=True)
class DisruptionReconciler:
    """Keeps the status of budgets.

    Attributes:
        scalable: informers of kinds with ``spec.replicas``, by kind.
    """

    client: Client
    budgets: Informer[PodDisruptionBudget]
    pods: Informer[Pod]
    scalable: "dict[str, Informer[Any]]"
    clock: Clock

    def watch(self, add: Add) -> None:
        """Follow budgets and Pods."""

        def pod_changed(change: Change[Pod]) -> None:
            sides = [side for side in (change.old, change.new) if side is not None]
            for budget in self.budgets.list(change.key.namespace):
                if any(selects(budget, pod) for pod in sides):
                    add(budget.key)

        self.budgets.add_handler(enqueue_self(add))
        self.pods.add_handler(pod_changed)

    async def reconcile(self, key: Key) -> Result:
        """Count for one budget."""
        budget = self.budgets.get(key)
        if budget is None or budget.deleting:
            return DONE
        pods = [
            pod
            for pod in self.pods.list(key.namespace)
            if selects(budget, pod) and not pods_of.is_finished(pod)
        ]
        spec = budget.spec or PodDisruptionBudgetSpec()
        wanted = self._wanted(pods) if needs_scale(spec) else len(pods)
        count = count_budget(budget, pods, wanted, self.clock.wall())
        if count.status != budget.status:
            try:
                updated = await self.client.update_status(
                    POD_DISRUPTION_BUDGET, replace(budget, status=count.status)
                )
            except NotFound:
                return DONE
            self.budgets.observe(updated)
        return Result(count.requeue_after_s)

    def _wanted(self, pods: Sequence[Pod]) -> int:
        """How many Pods the owners of these want; a Pod without a known owner counts for itself."""
        owners: dict[str, int] = {}
        alone = 0
        for pod in pods:
            owner = self._top(pod)
            if owner is None:
                alone += 1
                continue
            subject = owner
            replicas = subject.spec.replicas if subject.spec is not None else None
            owners[subject.metadata.uid] = 1 if replicas is None else replicas
        return alone + sum(owners.values())

    def _top(self, pod: Pod) -> Any | None:
        """The object that decides how many Pods there are."""
        found, reference = None, controller_of(pod)
        while reference is not None:
            owner = self._find(reference, pod.metadata.namespace)
            if owner is None:
                return found
            found, reference = owner, controller_of(owner)
        return found

    def _find(self, reference: OwnerReference, namespace: str) -> Any | None:
        informer = self.scalable.get(reference.kind)
        owner = informer.get(Key(namespace, reference.name)) if informer is not None else None
        return owner if owner is not None and owner.metadata.uid == reference.uid else None
