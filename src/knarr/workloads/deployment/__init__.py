"""Deployment: one ReplicaSet per template, and the way from one to the next."""

from knarr.workloads.deployment.reconciler import DeploymentReconciler

__all__ = ["DeploymentReconciler"]
