"""What ``matchConditions`` can see (``apiserver/pkg/admission/plugin/cel/compile.go``).

There is no ``authorizer``: expressions that ask it are refused by name.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from knarr.apiserver.cel.schemas import Shape, shape_of, value_of
from knarr.apiserver.cel.types import DYN, Type

_TEXT: Final = {"type": "string"}


def _object(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(names, _TEXT)}


_TEXTS: Final = {"type": "array", "items": _TEXT}
_USER: Final = {
    "type": "object",
    "properties": {
        "username": _TEXT,
        "uid": _TEXT,
        "groups": _TEXTS,
        "extra": {"type": "object", "additionalProperties": _TEXTS},
    },
}
_REQUEST: Final = {
    "type": "object",
    "properties": {
        "kind": _object("group", "version", "kind"),
        "resource": _object("group", "version", "resource"),
        "subResource": _TEXT,
        "requestKind": _object("group", "version", "kind"),
        "requestResource": _object("group", "version", "resource"),
        "requestSubResource": _TEXT,
        "name": _TEXT,
        "namespace": _TEXT,
        "operation": _TEXT,
        "userInfo": _USER,
        "dryRun": {"type": "boolean"},
        "options": {"x-kubernetes-int-or-string": True},
    },
}


@cache
def _shape() -> Shape:
    shape = shape_of(_REQUEST, "kubernetes.AdmissionRequest")
    if shape is None:
        raise ValueError("the request has a type")
    return shape


def variables() -> dict[str, Type]:
    """The variables of a condition, in the order of their values."""
    return {"object": DYN, "oldObject": DYN, "request": _shape().kind}


def request_value(request: Mapping[str, Any]) -> Any:
    """A request as expressions see it; its options have no type of their own."""
    value = value_of(dict(request), _shape())
    value["options"] = request.get("options")
    return value
