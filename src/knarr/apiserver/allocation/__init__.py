"""Gives out what must be unique among all objects of a kind, while an object is admitted."""

from knarr.apiserver.allocation.services import DEFAULT_SERVICE_CIDR, ServiceAllocator

__all__ = ["DEFAULT_SERVICE_CIDR", "ServiceAllocator"]
