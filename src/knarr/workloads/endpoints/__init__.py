"""Endpoints and EndpointSlices: the addresses behind a Service."""

from knarr.workloads.endpoints.reconciler import EndpointsReconciler

__all__ = ["EndpointsReconciler"]
