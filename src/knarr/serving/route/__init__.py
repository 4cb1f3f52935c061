"""Route: a URL and the Revisions behind it."""

from knarr.serving.route.reconciler import RouteReconciler

__all__ = ["RouteReconciler"]
