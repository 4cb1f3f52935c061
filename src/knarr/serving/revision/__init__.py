"""Revision: an immutable snapshot, its Deployment and its PodAutoscaler."""

from knarr.serving.revision.digests import BackgroundDigests, DigestResolver
from knarr.serving.revision.reconciler import RevisionReconciler

__all__ = ["BackgroundDigests", "DigestResolver", "RevisionReconciler"]
