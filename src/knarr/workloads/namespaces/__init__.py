"""Namespaces: what each one contains from the start, and how it ends."""

from knarr.workloads.namespaces.bootstrap import ensure_namespaces
from knarr.workloads.namespaces.reconciler import NamespaceReconciler

__all__ = ["NamespaceReconciler", "ensure_namespaces"]
