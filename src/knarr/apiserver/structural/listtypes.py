"""Uniqueness in lists that are sets or maps (``x-kubernetes-list-type``)."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from knarr.apiserver.structural.schema import Schema
from knarr.apiserver.structural.texts import child, duplicate, invalid, key
from knarr.meta.fielderrors import FieldError

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def list_errors(document: Any, schema: Schema, path: str = "") -> tuple[FieldError, ...]:
    """Items that occur twice in a set, and items of maps with equal keys."""
    return tuple(_walk(document, schema, path))


def _walk(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    if isinstance(value, list):
        yield from _list(value, schema, path)
    elif isinstance(value, dict):
        for name, item in value.items():
            inner = schema.entry(name)
            if inner is not None:
                where = child(path, name) if name in schema.properties else key(path, name)
                yield from _walk(item, inner, where)


def _list(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.list_type == "set":
        for index in _repeated(value):
            yield duplicate(key(path, index), value[index])
    elif schema.list_type == "map":
        yield from _map(value, schema, path)
    if schema.items is not None:
        for index, item in enumerate(value):
            yield from _walk(item, schema.items, key(path, index))


def _map(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            yield invalid(key(path, index), item, "must be an object for an array of list-type map")
            return
    keys = [
        {name: item[name] for name in schema.list_map_keys if name in item} if item else {}
        for item in value
    ]
    for index in _repeated(keys):
        yield duplicate(key(path, index), keys[index])


def _repeated(values: Iterable[Any]) -> Iterator[int]:
    """The index of the second occurrence of each value that occurs more than once."""
    seen: dict[bytes, int] = {}
    for index, value in enumerate(values):
        text = _ENCODER.encode(value)
        seen[text] = seen.get(text, 0) + 1
        if seen[text] == 2:
            yield index
