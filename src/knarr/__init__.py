"""Knarr: serverless containers and events with the Knative API, without Kubernetes."""

__version__ = "0.1.0"
