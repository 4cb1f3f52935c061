"""Labeler: marks the Revisions and Configurations that a Route sends requests to."""

from knarr.serving.labeler.reconciler import LabelerReconciler

__all__ = ["LabelerReconciler"]
