"""Kubernetes' protobuf encoding the other way round: documents to bytes, by the same table of facts.

Written apart from the server's decoder: what one of the two has wrong shows when they meet.
"""

import base64
import datetime as dt
import json
import struct
from typing import Any

from knarr.apiserver.protobuf.wire import WireField, WireTable

_GROUPS = {
    "": "core",
    "rbac.authorization.k8s.io": "rbac",
    "apiextensions.k8s.io": "apiextensions",
    "meta.k8s.io": "meta",
}
SCHEMA = "apiextensions/v1.JSONSchemaProps"


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        byte, value = value & 127, value >> 7
        out.append(byte | (128 if value else 0))
        if not value:
            return bytes(out)


def delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = delimited(1, api_version.encode()) + delimited(2, kind.encode())
    return b"k8s\0" + delimited(1, meta) + delimited(2, raw) + delimited(3, b"") + delimited(4, b"")


def message_name(table: WireTable, api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    name = f"{_GROUPS.get(group, group.split('.')[0])}/{version}.{kind}"
    return name if name in table else f"meta.{kind}"


def encode_body(table: WireTable, document: dict[str, Any]) -> bytes:
    """A whole request body."""
    api_version, kind = document["apiVersion"], document["kind"]
    message = message_name(table, api_version, kind)
    plain = {name: value for name, value in document.items() if name not in ("apiVersion", "kind")}
    return envelope(api_version, kind, encode(table, message, plain))


def encode(table: WireTable, message: str, document: dict[str, Any]) -> bytes:
    """One message."""
    out = b""
    for number, field in sorted(table.fields(message).items()):
        if field.inline and not field.name:
            names = {each.name for each in table.by_name(field.type)}
            inner = {name: value for name, value in document.items() if name in names}
            out += delimited(number, encode(table, field.type, inner))
        elif field.name in document and document[field.name] is not None:
            out += _field(table, number, field, document[field.name])
    return out


def _field(table: WireTable, number: int, field: WireField, value: Any) -> bytes:
    if field.shape == "map":
        return b"".join(
            delimited(number, delimited(1, key.encode()) + _one(table, 2, field.type, item))
            for key, item in value.items()
        )
    if field.shape == "rep":
        return b"".join(_one(table, number, field.type, item) for item in value)
    return _one(table, number, field.type, value)


def _one(table: WireTable, number: int, kind: str, value: Any) -> bytes:
    match kind:
        case "string":
            return delimited(number, value.encode())
        case "bool" | "int32" | "int64":
            return number_field(number, int(value))
        case "float64":
            return varint(number << 3 | 1) + struct.pack("<d", value)
        case "[]byte":
            return delimited(number, base64.b64decode(value))
        case "Time" | "MicroTime":
            return delimited(number, _time(value))
        case "Quantity":
            return delimited(number, delimited(1, str(value).encode()))
        case "IntOrString":
            if isinstance(value, str):
                inner = number_field(1, 1) + number_field(2, 0) + delimited(3, value.encode())
            else:
                inner = number_field(1, 0) + number_field(2, value) + delimited(3, b"")
            return delimited(number, inner)
        case "Raw":
            return delimited(number, delimited(1, json.dumps(value).encode()))
        case "StrItems":
            return delimited(number, b"".join(delimited(1, item.encode()) for item in value))
        case "JSONSchemaPropsOrBool":
            if isinstance(value, bool):
                return delimited(number, number_field(1, int(value)))
            inner = number_field(1, 1) + delimited(2, encode(table, SCHEMA, value))
            return delimited(number, inner)
        case "JSONSchemaPropsOrArray":
            if isinstance(value, list):
                inner = b"".join(delimited(2, encode(table, SCHEMA, item)) for item in value)
            else:
                inner = delimited(1, encode(table, SCHEMA, value))
            return delimited(number, inner)
        case "JSONSchemaPropsOrStringArray":
            if isinstance(value, list):
                inner = b"".join(delimited(2, item.encode()) for item in value)
            else:
                inner = delimited(1, encode(table, SCHEMA, value))
            return delimited(number, inner)
    return delimited(number, encode(table, kind, value))


def _time(value: str) -> bytes:
    moment = dt.datetime.fromisoformat(value)
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    seconds = since // dt.timedelta(seconds=1)
    nanos = since.microseconds * 1000
    return number_field(1, seconds) + (number_field(2, nanos) if nanos else b"")
