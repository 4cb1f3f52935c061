"""Fills Secrets of type ``kubernetes.io/service-account-token``."""

from knarr.workloads.tokensecrets.reconciler import TokenMaker, TokenSecretReconciler

__all__ = ["TokenMaker", "TokenSecretReconciler"]
