"""CustomResourceDefinitions' structural schemas: pure functions on JSON documents.

``definition_errors`` judges a definition (``cel_errors`` its rules in CEL),
``CrdVersion`` does everything that happens to documents of one version.
"""

from knarr.apiserver.structural.cel import cel_errors
from knarr.apiserver.structural.checking import schema_errors
from knarr.apiserver.structural.columns import PrinterColumn, parse_columns
from knarr.apiserver.structural.defaulting import apply_defaults, drop_nulls
from knarr.apiserver.structural.definition import (
    definition_errors,
    definition_update_errors,
)
from knarr.apiserver.structural.embedded import embedded_errors
from knarr.apiserver.structural.jsonpath import BadPath, PathFailure, find, parse_path
from knarr.apiserver.structural.keywords import cel_rules, unknown_formats, unknown_keywords
from knarr.apiserver.structural.listtypes import list_errors
from knarr.apiserver.structural.paths import ScalePaths, scale_paths, selectable_value, written
from knarr.apiserver.structural.pruning import coerce_metadata, prune
from knarr.apiserver.structural.resource import Admitted, CrdVersion
from knarr.apiserver.structural.schema import BadSchema, Schema, parse_schema
from knarr.apiserver.structural.texts import text_of, whole_numbers
from knarr.apiserver.structural.validation import MISSING, validate

__all__ = [
    "MISSING",
    "Admitted",
    "BadPath",
    "BadSchema",
    "CrdVersion",
    "PathFailure",
    "PrinterColumn",
    "ScalePaths",
    "Schema",
    "apply_defaults",
    "cel_errors",
    "cel_rules",
    "coerce_metadata",
    "definition_errors",
    "definition_update_errors",
    "drop_nulls",
    "embedded_errors",
    "find",
    "list_errors",
    "parse_columns",
    "parse_path",
    "parse_schema",
    "prune",
    "scale_paths",
    "schema_errors",
    "selectable_value",
    "text_of",
    "unknown_formats",
    "unknown_keywords",
    "validate",
    "whole_numbers",
    "written",
]
