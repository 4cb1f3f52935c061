"""CronJob: Jobs at the times of a schedule."""

from knarr.workloads.cronjob.reconciler import CronJobReconciler

__all__ = ["CronJobReconciler"]
