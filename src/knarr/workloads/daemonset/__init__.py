"""DaemonSet: one Pod per node."""

from knarr.workloads.daemonset.reconciler import DaemonSetReconciler

__all__ = ["DaemonSetReconciler"]
