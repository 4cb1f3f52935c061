"""Kinds of ``events``."""
