"""Gives aggregated ClusterRoles the rules of those they select."""

from knarr.workloads.clusterroles.reconciler import ClusterRoleReconciler

__all__ = ["ClusterRoleReconciler"]
