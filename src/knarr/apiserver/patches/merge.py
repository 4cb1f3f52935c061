"""JSON merge patch (RFC 7386)."""

from typing import Any


def merge_patch(document: Any, patch: Any) -> Any:
    """The patched document; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result
