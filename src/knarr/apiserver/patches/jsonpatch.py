"""JSON patch (RFC 6902) with JSON pointers (RFC 6901), bounded in operations and size."""

import copy
from typing import Any

from knarr.meta.errors import BadRequest, Cause, Invalid, TooLarge

MAX_OPERATIONS = 10_000
_MAX_NODES = 100_000


def json_patch(document: Any, operations: Any) -> Any:
    """The patched document; the arguments are not changed.

    Raises:
        BadRequest: the patch is malformed.
        TooLarge: it has too many operations or makes the document too large.
        Invalid: a path does not exist or a test failed; nothing was applied.
    """
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch must be an array of operations")
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(f"the patch has {len(operations)} operations, the limit is {MAX_OPERATIONS}")
    state = _State(copy.deepcopy(document))
    for index, operation in enumerate(operations):
        try:
            state.apply(operation)
        except _Problem as problem:
            message = f"operation {index}: {problem}"
            raise Invalid(
                f"the server rejected our request due to an error in our request: {message}",
                causes=[Cause(reason="FieldValueInvalid", message=message, field="patch")],
            ) from None
    return state.document


class _Problem(Exception):
    pass


class _State:
    """A document that is being patched, and how much copying it may still do."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self._budget = _MAX_NODES

    def apply(self, operation: Any) -> None:
        if not isinstance(operation, dict):
            raise BadRequest("an operation of a JSON patch must be an object")
        name, path = operation.get("op"), parse_pointer(operation.get("path"))
        match name:
            case "add":
                self._add(path, copy.deepcopy(_value(operation)))
            case "remove":
                self._remove(path)
            case "replace":
                self._get(path)
                self._replace(path, copy.deepcopy(_value(operation)))
            case "test":
                if not same_json(self._get(path), _value(operation)):
                    raise _Problem(f"testing value {operation['path']} failed")
            case "copy":
                value = self._get(parse_pointer(operation.get("from")))
                self._spend(value)
                self._add(path, copy.deepcopy(value))
            case "move":
                source = parse_pointer(operation.get("from"))
                if path[: len(source)] == source and path != source:
                    raise _Problem("a value cannot be moved into itself")
                value = self._get(source)
                self._remove(source)
                self._add(path, value)
            case _:
                raise BadRequest(f"unknown operation {name!r} in a JSON patch")

    def _spend(self, value: Any) -> None:
        self._budget -= _size(value)
        if self._budget < 0:
            raise TooLarge("the patch makes the document too large")

    def _get(self, path: list[str]) -> Any:
        found = self.document
        for part in path:
            found = _step(found, part)
        return found

    def _parent(self, path: list[str]) -> tuple[Any, str]:
        return self._get(path[:-1]), path[-1]

    def _add(self, path: list[str], value: Any) -> None:
        if not path:
            self.document = value
            return
        parent, part = self._parent(path)
        if isinstance(parent, list):
            parent.insert(len(parent) if part == "-" else _index(part, len(parent) + 1), value)
        elif isinstance(parent, dict):
            parent[part] = value
        else:
            raise _missing(part)

    def _replace(self, path: list[str], value: Any) -> None:
        if not path:
            self.document = value
            return
        parent, part = self._parent(path)
        parent[_index(part, len(parent)) if isinstance(parent, list) else part] = value

    def _remove(self, path: list[str]) -> None:
        if not path:
            raise _Problem("the whole document cannot be removed")
        parent, part = self._parent(path)
        _step(parent, part)
        del parent[_index(part, len(parent)) if isinstance(parent, list) else part]


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise BadRequest(f"operation {operation.get('op')!r} of a JSON patch needs a value")
    return operation["value"]


def parse_pointer(text: Any) -> list[str]:
    """The tokens of a JSON pointer.

    Raises:
        BadRequest: it is none.
    """
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise BadRequest(f"{text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _step(value: Any, part: str) -> Any:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, list):
        return value[_index(part, len(value))]
    raise _missing(part)


def _index(part: str, bound: int) -> int:
    plain = part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")
    if not plain or len(part) > 9 or int(part) >= bound:
        raise _Problem(f"array index {part!r} does not exist")
    return int(part)


def _missing(part: str) -> _Problem:
    return _Problem(f"path element {part!r} does not exist")


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1


def same_json(left: Any, right: Any) -> bool:
    """Equality of JSON values, where true is not 1; numbers are equal by value."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            same_json(value, right[name]) for name, value in left.items()
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return bool(left == right)
