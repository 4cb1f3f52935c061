"""Garbage collection of Revisions that no Route uses."""

from knarr.serving.gc.reconciler import RevisionCollector

__all__ = ["RevisionCollector"]
