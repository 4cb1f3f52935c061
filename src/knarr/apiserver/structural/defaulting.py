"""Defaults of a schema, applied to documents."""

import copy
from typing import Any

from knarr.apiserver.structural.schema import Schema


def drop_nulls(document: Any, schema: Schema | None) -> Any:
    """The document without nulls that its schema does not allow and has no default for.

    Nulls of parts that the schema does not describe stay, and so do nulls in lists.
    """
    if isinstance(document, dict):
        result: dict[str, Any] = {}
        for name, value in document.items():
            inner = schema.entry(name) if schema is not None else None
            if value is None and inner is not None and not inner.nullable and inner.default is None:
                continue
            result[name] = drop_nulls(value, inner)
        return result
    if isinstance(document, list):
        items = schema.items if schema is not None else None
        return [drop_nulls(item, items) for item in document]
    return document


def apply_defaults(document: Any, schema: Schema | None) -> Any:
    """The document with the defaults of absent fields, and of nulls that are not allowed.

    A default inside an object applies only where the object is: an absent parent is not made for the sake
    of a child's default. A parent's own default is completed by those of its children.
    """
    if schema is None:
        return document
    if isinstance(document, dict):
        result = dict(document)
        for name, inner in schema.properties.items():
            if inner.default is not None and (
                name not in result or (result[name] is None and not inner.nullable)
            ):
                result[name] = copy.deepcopy(inner.default)
        for name, value in result.items():
            result[name] = _defaulted(value, schema.entry(name))
        return result
    if isinstance(document, list):
        return [_defaulted(item, schema.items) for item in document]
    return document


def _defaulted(value: Any, schema: Schema | None) -> Any:
    if schema is None:
        return value
    if value is None and not schema.nullable:
        value = copy.deepcopy(schema.default)
    return apply_defaults(value, schema)
