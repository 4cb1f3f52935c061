"""Kinds of ``storage``."""
