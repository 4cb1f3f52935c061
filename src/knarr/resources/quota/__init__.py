"""Arithmetic of ResourceQuota and LimitRange; pure."""
