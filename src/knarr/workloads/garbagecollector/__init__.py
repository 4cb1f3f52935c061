"""Garbage collector: what lost its owner goes; what is deleted in the foreground waits for it."""

from knarr.workloads.garbagecollector.reconciler import GarbageCollector

__all__ = ["GarbageCollector"]
