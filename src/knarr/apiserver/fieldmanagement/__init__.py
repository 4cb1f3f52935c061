"""Server-side apply and ``metadata.managedFields``: pure functions on JSON documents.

``Rules`` says what is fixed for a kind, ``Actor`` who writes. ``track_update`` is for create, PUT and the
patches other than apply; ``apply_configuration`` is server-side apply; ``with_old_times`` comes last and
keeps a write that changes nothing from changing times. Source of the behaviour:
``apimachinery/pkg/util/managedfields`` and structured-merge-diff.
"""

from knarr.apiserver.fieldmanagement.applying import ApplyResult, apply, apply_configuration
from knarr.apiserver.fieldmanagement.builtin import BuiltinSchemas, Structure
from knarr.apiserver.fieldmanagement.conflicts import FieldConflict, conflict_error
from knarr.apiserver.fieldmanagement.documents import Comparison, compare, field_set
from knarr.apiserver.fieldmanagement.elements import MergeProblem
from knarr.apiserver.fieldmanagement.fieldset import FieldSet, decode_set, encode_set
from knarr.apiserver.fieldmanagement.managers import (
    Actor,
    Managed,
    Managers,
    decode_managers,
    encode_managers,
    field_manager_problems,
    manager_name,
    with_managers,
)
from knarr.apiserver.fieldmanagement.merging import merge, reconcile, remove
from knarr.apiserver.fieldmanagement.openapi import custom_resource_schema, schema_from_openapi
from knarr.apiserver.fieldmanagement.ownership import Rules, Versions, ignored_fields
from knarr.apiserver.fieldmanagement.scale import managers_of_parent, managers_of_scale
from knarr.apiserver.fieldmanagement.schema import (
    ATOMIC,
    SCALAR,
    UNTYPED,
    ListRule,
    MapRule,
    MergeSchema,
)
from knarr.apiserver.fieldmanagement.updating import (
    track_update,
    update_managers,
    with_old_times,
)

__all__ = [
    "ATOMIC",
    "SCALAR",
    "UNTYPED",
    "Actor",
    "ApplyResult",
    "BuiltinSchemas",
    "Comparison",
    "FieldConflict",
    "FieldSet",
    "ListRule",
    "Managed",
    "Managers",
    "MapRule",
    "MergeProblem",
    "MergeSchema",
    "Rules",
    "Structure",
    "Versions",
    "apply",
    "apply_configuration",
    "compare",
    "conflict_error",
    "custom_resource_schema",
    "decode_managers",
    "decode_set",
    "encode_managers",
    "encode_set",
    "field_manager_problems",
    "field_set",
    "ignored_fields",
    "manager_name",
    "managers_of_parent",
    "managers_of_scale",
    "merge",
    "reconcile",
    "remove",
    "schema_from_openapi",
    "track_update",
    "update_managers",
    "with_managers",
    "with_old_times",
]
