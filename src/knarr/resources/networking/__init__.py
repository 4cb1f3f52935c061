"""Kinds of ``networking.internal.knative.dev``."""
