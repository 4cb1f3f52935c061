"""StatefulSet: Pods with numbers, made, ended and replaced in order."""

from knarr.workloads.statefulset.reconciler import StatefulSetReconciler

__all__ = ["StatefulSetReconciler"]
