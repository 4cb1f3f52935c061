"""CustomResourceDefinitions at work: what is refused, which names they get, and serving their kinds."""

from knarr.apiserver.definitions.rules import DefinitionRules
from knarr.apiserver.definitions.service import Definitions

__all__ = ["DefinitionRules", "Definitions"]
