"""Service: one Configuration and one Route that live with it."""

from knarr.serving.service.reconciler import ServiceReconciler

__all__ = ["ServiceReconciler"]
