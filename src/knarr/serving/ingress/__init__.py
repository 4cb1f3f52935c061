"""Ingress: hosts and paths in the gateways' routing table."""

from knarr.serving.ingress.reconciler import IngressReconciler

__all__ = ["IngressReconciler"]
