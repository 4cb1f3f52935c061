"""Events are kept for an hour."""

from knarr.workloads.events.reconciler import EventSweeper

__all__ = ["EventSweeper"]
