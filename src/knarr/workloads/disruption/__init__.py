"""PodDisruptionBudgets: how many of a set of Pods may be evicted now."""

from knarr.workloads.disruption.reconciler import DisruptionReconciler

__all__ = ["DisruptionReconciler"]
