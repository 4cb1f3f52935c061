"""Job: Pods that are to succeed a number of times."""

from knarr.workloads.job.reconciler import JobReconciler

__all__ = ["JobReconciler"]
