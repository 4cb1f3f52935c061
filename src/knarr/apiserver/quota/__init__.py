"""Admission by ResourceQuota and LimitRange, and the default StorageClass of claims."""

from knarr.apiserver.quota.checking import QuotaChecker
from knarr.apiserver.quota.limiting import ClaimLimiter, PodLimiter
from knarr.apiserver.quota.priorities import PriorityResolver

__all__ = ["ClaimLimiter", "PodLimiter", "PriorityResolver", "QuotaChecker"]
