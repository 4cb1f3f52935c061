"""ResourceQuotas: writes down what is used."""

from knarr.workloads.quotas.reconciler import QuotaReconciler

__all__ = ["QuotaReconciler"]
