"""ReplicaSet: a number of Pods of one template."""

from knarr.workloads.replicaset.reconciler import ReplicaSetReconciler

__all__ = ["ReplicaSetReconciler"]
