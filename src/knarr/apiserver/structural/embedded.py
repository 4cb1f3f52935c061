"""Embedded resources: an apiVersion, a kind and metadata that make sense."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from knarr.apiserver.structural.pruning import as_root
from knarr.apiserver.structural.schema import Schema
from knarr.apiserver.structural.texts import child, invalid, joined, key, required
from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1035_label_problems
from knarr.meta.objects import ObjectMeta

MetadataCheck = Callable[[ObjectMeta], Iterable[FieldError]]
"""What is wrong with metadata, paths relative to it."""


def embedded_errors(
    document: Any, schema: Schema, check: MetadataCheck | None = None, *, root: bool = False
) -> tuple[FieldError, ...]:
    """What is wrong with the embedded resources of a document.

    Args:
        document: a JSON value.
        schema: of the document.
        check: judges metadata further, beyond its types.
        root: judge the document itself alike.
    """
    return tuple(_walk(document, as_root(schema) if root else schema, "", check))


def _walk(
    value: Any, schema: Schema | None, path: str, check: MetadataCheck | None
) -> Iterator[FieldError]:
    if schema is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, schema.items, key(path, index), check)
    elif isinstance(value, dict):
        if schema.embedded:
            yield from _resource(value, path, check)
        for name, item in value.items():
            where = child(path, name) if name in schema.properties else key(path, name)
            yield from _walk(item, schema.entry(name), where, check)


def _resource(
    value: dict[str, Any], path: str, check: MetadataCheck | None
) -> Iterator[FieldError]:
    for name in ("apiVersion", "kind"):
        where = child(path, name)
        if name not in value:
            yield required(where)
        elif not isinstance(value[name], str):
            yield invalid(where, value[name], "must be a string")
        elif not value[name]:
            yield invalid(where, value[name], "must not be empty")
        elif name == "kind":
            yield from _kind(value[name], where)
        elif value[name].count("/") > 1:
            yield invalid(where, value[name], f"unexpected GroupVersion string: {value[name]}")
    if "metadata" in value:
        yield from _metadata(value["metadata"], child(path, "metadata"), check)


def _kind(kind: str, path: str) -> Iterator[FieldError]:
    problems = dns1035_label_problems(kind.lower())
    if problems:
        text = "may have mixed case, but should otherwise match: "
        yield invalid(path, kind, text + joined(problems))


def _metadata(value: Any, path: str, check: MetadataCheck | None) -> Iterator[FieldError]:
    try:
        metadata = msgspec.convert(value, ObjectMeta)
    except msgspec.ValidationError as error:
        yield invalid(path, value, str(error))
        return
    if check is not None:
        yield from at(path, check(metadata))
