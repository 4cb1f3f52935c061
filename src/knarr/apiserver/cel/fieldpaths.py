"""``fieldPath`` of validation rules: where an error is reported."""

import re
from collections.abc import Mapping
from typing import Any, Final

_TOKEN: Final = re.compile(r"\.(?P<name>[^.\[\]]+)|\['(?P<quoted>(?:[^'\\]|\\.)*)'\]")
_ESCAPE: Final = re.compile(r"\\(.)")
_PLAIN: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'",
                 "\\": "\\"}  # fmt: skip


def normalized_path(text: str, schema: Mapping[str, Any]) -> str | None:
    """The path as errors write it; None when it leads nowhere in the schema."""
    at, result = 0, ""
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        at = found.end()
        name = found["name"]
        if name is None:
            name = _ESCAPE.sub(lambda each: _PLAIN.get(each[1], "\0"), found["quoted"])
        properties, additional = schema.get("properties"), schema.get("additionalProperties")
        if isinstance(properties, Mapping):
            if not isinstance(properties.get(name), Mapping):
                return None
            schema = properties[name]
            result = f"{result}.{name}" if result else name
        elif isinstance(additional, Mapping):
            schema = additional
            result = f"{result}[{name}]"
        else:
            return None
    return result
