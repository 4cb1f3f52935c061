"""Kinds of ``serving.knative.dev/v1``."""
