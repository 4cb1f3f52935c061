"""Kinds of Kubernetes' core group (``v1``)."""
