"""Kinds of ``autoscaling.internal.knative.dev``."""
