"""Namespaces: what each one contains from the start, and how it ends."""

from knarr.workloads.namespaces.reconciler import NamespaceReconciler

__all__ = ["NamespaceReconciler"]
