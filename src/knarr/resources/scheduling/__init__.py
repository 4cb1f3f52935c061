"""Kinds of ``scheduling``."""
