"""Persistent volumes: binds claims to them, and keeps both as long as they are used."""

from knarr.workloads.volumes.claims import ClaimReconciler
from knarr.workloads.volumes.reclaiming import VolumeReconciler

__all__ = ["ClaimReconciler", "VolumeReconciler"]
