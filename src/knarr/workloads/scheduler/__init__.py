"""Scheduler: binds Pods to the node while its resources last."""

from knarr.workloads.scheduler.reconciler import SchedulerReconciler

__all__ = ["SchedulerReconciler"]
