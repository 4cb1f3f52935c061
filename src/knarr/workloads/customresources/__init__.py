"""Kinds that users define, for controllers that look after objects of every kind."""

from knarr.workloads.customresources.definition import DEFINITION, Definition, slim
from knarr.workloads.customresources.kinds import CustomKinds

__all__ = ["DEFINITION", "CustomKinds", "Definition", "slim"]
