"""``knarr explain``: from what the API says to a root cause, its evidence and its remedy; pure."""

from knarr.cli.explaining.decide import explain
from knarr.cli.explaining.world import Explanation, Fix, Link, Probed, Subject, World

__all__ = ["Explanation", "Fix", "Link", "Probed", "Subject", "World", "explain"]
