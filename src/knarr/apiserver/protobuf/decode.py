"""``application/vnd.kubernetes.protobuf`` to JSON documents.

The envelope is ``k8s`` and a zero byte, followed by ``runtime.Unknown``: field 1 the type (apiVersion,
kind), field 2 the encoded object. Values that Go leaves out of JSON when empty are left out here too.
"""

import base64
import datetime as dt
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from knarr.apiserver.jsontext import MAX_OBJECTS, MAX_VALUES, parse_json, too_many
from knarr.apiserver.protobuf.wire import WireField, WireTable
from knarr.kits.clock import format_micro_timestamp, format_timestamp
from knarr.meta.errors import BadRequest, UnsupportedMediaType

MAGIC = b"k8s\0"
_MAX_DEPTH = 64
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ABSENT = object()
_SCHEMA = "apiextensions/v1.JSONSchemaProps"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body: what it says it is, and its document without apiVersion and kind."""

    api_version: str
    kind: str
    document: dict[str, Any]


def decode_body(table: WireTable, body: bytes) -> Decoded:
    """Decode a request body.

    Raises:
        BadRequest: the bytes are no such encoding.
        TooLarge: it has too many parts.
        UnsupportedMediaType: nobody told us how this kind is encoded.
    """
    if not body.startswith(MAGIC):
        raise BadRequest("the body is not in Kubernetes' protobuf encoding: the prefix is missing")
    try:
        envelope = dict(_split(body[len(MAGIC) :]))
        meta = dict(_split(_bytes(envelope.get(1, b""))))
        api_version, kind = _text(meta.get(1, b"")), _text(meta.get(2, b""))
        raw = _bytes(envelope.get(2, b""))
        group, _, version = api_version.rpartition("/")
        message = table.message_of(group, version, kind)
        if message is None and f"meta.{kind}" in table:
            message = f"meta.{kind}"
        if message is None:
            raise UnsupportedMediaType(
                f"protobuf bodies of kind {kind} in version {api_version!r} are not supported: send JSON"
            )
        return Decoded(api_version, kind, _Reader(table).message(message, raw, 0))
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        raise BadRequest(f"the protobuf body is malformed: {error}") from None


def _varint(data: bytes, index: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[index]
        index += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, index
        shift += 7
        if shift > 63:
            raise ValueError("a varint has more than ten bytes")


def _split(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message as (number, int | float | bytes)."""
    index, end = 0, len(data)
    while index < end:
        tag, index = _varint(data, index)
        value: Any
        match tag & 7:
            case 0:
                value, index = _varint(data, index)
            case 1:
                (value,) = struct.unpack_from("<d", data, index)
                index += 8
            case 2:
                length, index = _varint(data, index)
                value = data[index : index + length]
                if len(value) != length:
                    raise ValueError("a field is longer than its message")
                index += length
            case 5:
                (value,) = struct.unpack_from("<f", data, index)
                index += 4
            case other:
                raise ValueError(f"wire type {other} is not used")
        yield tag >> 3, value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("expected a length-delimited field")  # noqa: TRY004 - data, not a type bug
    return value


def _text(value: Any) -> str:
    return _bytes(value).decode()


def _signed(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("expected a varint field")  # noqa: TRY004 - data, not a type bug
    return value - (1 << 64) if value >> 63 else value


def _float(value: Any) -> float:
    """A number as Go writes it to JSON: whole ones without a fraction."""
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError("expected a finite double")
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _timestamp(data: Any) -> dt.datetime | None:
    if not _bytes(data):
        return None
    parts = dict(_split(data))
    return _EPOCH + dt.timedelta(
        seconds=_signed(parts.get(1, 0)), microseconds=_signed(parts.get(2, 0)) // 1000
    )


def _time(data: Any) -> Any:
    moment = _timestamp(data)
    return _ABSENT if moment is None else format_timestamp(moment)


def _micro_time(data: Any) -> Any:
    moment = _timestamp(data)
    return _ABSENT if moment is None else format_micro_timestamp(moment)


def _int_or_string(data: Any) -> Any:
    parts = dict(_split(_bytes(data)))
    return _text(parts.get(3, b"")) if parts.get(1, 0) else _signed(parts.get(2, 0))


def _raw(data: Any) -> Any:
    text = dict(_split(_bytes(data))).get(1)
    return parse_json(_bytes(text)) if text else _ABSENT


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "bool": lambda data: bool(_signed(data)),
    "int32": _signed,
    "int64": _signed,
    "float64": _float,
    "[]byte": lambda data: base64.b64encode(_bytes(data)).decode(),
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": lambda data: _text(dict(_split(_bytes(data))).get(1, b"0")),
    "IntOrString": _int_or_string,
    "Raw": _raw,
    "StrItems": lambda data: [_text(value) for _, value in _split(_bytes(data))],
}
_ZERO: dict[str, Any] = {
    "string": "", "bool": 0, "int32": 0, "int64": 0, "float64": 0.0, "[]byte": b"",
}  # fmt: skip


class _Reader:
    def __init__(self, table: WireTable) -> None:
        self._table = table
        self._messages = self._fields = 0

    def message(self, name: str, data: bytes, depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")
        self._messages += 1
        plan = self._table.fields(name)
        result: dict[str, Any] = {}
        for number, value in _split(data):
            field = plan.get(number)
            self._fields += 1
            if self._messages > MAX_OBJECTS or self._fields > MAX_VALUES:
                raise too_many()
            if field is not None:
                self._put(result, field, value, depth)
        return result

    def _put(self, result: dict[str, Any], field: WireField, value: Any, depth: int) -> None:
        if field.shape == "map":
            parts = dict(_split(_bytes(value)))
            inner = self._value(field.type, parts.get(2, _ZERO.get(field.type, b"")), depth)
            name = _text(parts.get(1, b""))
            result.setdefault(field.name, {})[name] = None if inner is _ABSENT else inner
            return
        decoded = self._value(field.type, value, depth)
        if field.inline:
            if isinstance(decoded, dict):
                result.update(decoded)
        elif field.shape == "rep":
            result.setdefault(field.name, []).append(None if decoded is _ABSENT else decoded)
        elif decoded is not _ABSENT and _worth_keeping(field, decoded):
            result[field.name] = decoded

    def _value(self, kind: str, value: Any, depth: int) -> Any:
        scalar = _SCALARS.get(kind)
        if scalar is not None:
            return scalar(value)
        if kind.startswith("JSONSchemaPropsOr"):
            return self._schema_or(kind, _bytes(value), depth)
        return self.message(kind, _bytes(value), depth + 1)

    def _schema_or(self, kind: str, data: bytes, depth: int) -> Any:
        fields = list(_split(data))
        first = [value for number, value in fields if number == 1]
        others = [value for number, value in fields if number == 2]
        if kind == "JSONSchemaPropsOrBool":
            if others:
                return self.message(_SCHEMA, _bytes(others[0]), depth + 1)
            return bool(first and _signed(first[0]))
        if kind == "JSONSchemaPropsOrStringArray" and others:
            return [_text(value) for value in others]
        if others:
            return [self.message(_SCHEMA, _bytes(value), depth + 1) for value in others]
        return self.message(_SCHEMA, _bytes(first[0]) if first else b"", depth + 1)


def _worth_keeping(field: WireField, decoded: Any) -> bool:
    """Whether Go would write the value to JSON, except that empty objects are always left out."""
    if field.pointer:
        return True
    return decoded not in ("", 0, False, {}) or (not field.optional and decoded != {})
