"""PodAutoscaler: brings the autoscaler's decisions to the Deployment, idle replicas first."""

from knarr.serving.podautoscaler.reconciler import PodAutoscalerReconciler

__all__ = ["PodAutoscalerReconciler"]
