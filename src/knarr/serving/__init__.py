"""Knative Serving: reconcilers for every kind, the autoscaler, and how they are put together."""
