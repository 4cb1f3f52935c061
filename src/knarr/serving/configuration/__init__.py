"""Configuration: one immutable Revision per change of its template."""

from knarr.serving.configuration.reconciler import ConfigurationReconciler

__all__ = ["ConfigurationReconciler"]
